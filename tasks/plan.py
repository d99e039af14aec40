"""Before anything is rented."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.plan_flags import HELP, REPEATED, SECTIONS, Flags
from cli.program import task
from tasks.workbench import bench

if TYPE_CHECKING:
    from invoke.context import Context


@task("Plan", iterable=REPEATED, help=HELP, sections=SECTIONS)
def plan(
    c: Context,
    gpu: list[str],
    gpu_count: list[str],
    set: list[str],
    profile: str = "",
    preset: str = "",
    model: str = "",
    model_size: str = "",
    depth: str = "",
    layers: str = "",
    width: str = "",
    heads: str = "",
    vocab: str = "",
    length: str = "",
    batch: str = "",
    batch_tokens: str = "",
    device_batch_size: str = "",
    precision: str = "",
    zero: str = "",
    offload: str = "",
    checkpointing: str = "",
    optimizer: str = "",
    tokens: str = "",
    steps: str = "",
    epochs: str = "",
    hours: str = "",
    budget: str = "",
    dataset_tokens: str = "",
    price: str = "",
    max_price: str = "",
    spot: bool = False,
    network: str = "",
    link_mbit: str = "",
    offline: bool = False,
    claim: str = "",
    run: str = "",
    learn: str = "",
    table: bool = False,
    sources: bool = False,
    plot: str = "",
    json: bool = False,
) -> None:
    """Before anything is rented: will it fit, how fast, how long, how much."""
    flags = {name: value for name, value in locals().items() if name != "c"}
    from cli.plan import answer

    work = bench(True)
    answer(Flags(**flags), work.store.root, work.settings.get("profile", ""))
