"""Machines to rent: what there is, ordering one, and bringing a run back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.fleet_back_flags import RESUME, RESUME_HELP, Back
from cli.fleet_flags import DEPLOY, DEPLOY_HELP, MANY, OFFERS, OFFERS_HELP, Asked
from cli.program import task
from tasks.workbench import bench

if TYPE_CHECKING:
    from invoke.context import Context


@task("Fleet", iterable=MANY, help=OFFERS_HELP, sections=OFFERS)
def offers(
    c: Context,
    provider: list[str],
    gpu: list[str],
    region: list[str],
    set: list[str],
    profile: str = "",
    model_size: str = "",
    depth: str = "",
    device_batch_size: str = "",
    steps: str = "",
    tokens: str = "",
    gpu_count: str = "",
    any_gpu: bool = False,
    max_price: str = "",
    spot: bool = False,
    min_reliability: str = "",
    dropped: bool = False,
    json: bool = False,
) -> None:
    """What can be rented now, by the dollars to finish, not by the hour."""
    flags = {name: value for name, value in locals().items() if name != "c"}
    from cli.fleet_deploy import offers as answer
    from cli.fleet_unweighed import refuse_unweighed

    asked, work = Asked(**flags), bench(json)
    refuse_unweighed(asked, work)
    answer(asked, work)


@task("Fleet", iterable=(*MANY, "env"), help=DEPLOY_HELP, sections=DEPLOY)
def deploy(
    c: Context,
    provider: list[str],
    gpu: list[str],
    region: list[str],
    set: list[str],
    env: list[str],
    profile: str = "",
    image: str = "",
    model_size: str = "",
    depth: str = "",
    device_batch_size: str = "",
    steps: str = "",
    tokens: str = "",
    gpu_count: str = "",
    any_gpu: bool = False,
    max_price: str = "",
    budget: str = "",
    hours: str = "",
    idle_minutes: str = "",
    spot: bool = False,
    min_reliability: str = "",
    name: str = "",
    volume: str = "",
    remote: str = "",
    dry_run: bool = False,
    yes: bool = False,
    auto_launch: bool = False,
    json: bool = False,
) -> None:
    """Rent the cheapest machine that will finish the run, and start it."""
    flags = {name: value for name, value in locals().items() if name != "c"}
    from cli.fleet_deploy import deploy as act

    act(Asked(**flags), bench(json))


@task("Fleet", positional=["run"], iterable=["provider", "set"], help=RESUME_HELP, sections=RESUME)
def resume(
    c: Context,
    run: str,
    provider: list[str],
    set: list[str],
    same: bool = False,
    any: bool = False,
    spot_then_on_demand: bool = False,
    gpu_count: str = "",
    max_price: str = "",
    budget: str = "",
    hours: str = "",
    force: bool = False,
    from_start: bool = False,
    remote: str = "",
    profile: str = "",
    image: str = "",
    model_size: str = "",
    depth: str = "",
    steps: str = "",
    tokens: str = "",
    yes: bool = False,
    json: bool = False,
) -> None:
    """Bring a run back after a loss, on the next machine that will do."""
    flags = {name: value for name, value in locals().items() if name != "c"}
    from cli.fleet_resume import resume as act

    act(Back(**flags), bench(json))
