"""`resume`: read the flags, judge the run, rent by its policy, with the ledger or from the remote store alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cli import fleet_show, show
from cli.amounts import whole
from cli.fleet_agree import agreed
from cli.fleet_asked import MOST_GPUS
from cli.fleet_back_asked import asked_of, policy_of, where
from cli.fleet_back_flags import Back
from cli.fleet_deploy import say
from cli.fleet_flags import Asked
from cli.fleet_runs import clients, fleet, keyed
from profiles.errors import CheckFailed, OutsideFailed, WrongInput

if TYPE_CHECKING:
    from fleet.clock import Clock
    from fleet.ledger.ledger import Ledger
    from fleet.ledger.values import Run
    from fleet.providers.provider import Provider
    from fleet.providers.values import Login
    from fleet.resume.resume import Comeback, Resumed
    from fleet.resume.saved import Saved
    from images.workbench import Workbench


def resume(back: Back, work: Workbench) -> None:
    """Brings a run back, when it is not there any more. Exit 0 also when there is nothing to do."""
    from fleet.launch.outcomes import NoMachine
    from fleet.resume.resume import resume as act

    where(back)
    with fleet(work) as (ledger, clock):
        known(back, work, ledger, clock)
        comeback = prepared(back, work, ledger, clock)
        if back.force and ledger.live(back.run):
            one = ledger.live(back.run)[-1]
            agreed(f"end {one.provider} {one.id}, which may be training?", back.yes)
        try:
            done = act(comeback, back.run)
        except NoMachine as failed:
            fleet_show.tried(failed)
            raise
        after = ledger.run(back.run)
        if asked_of(back, after).limits != after.limits:
            say(f"{back.run}: the limits that were typed are not kept: nothing was rented")
        told(done, back.json)


def prepared(back: Back, work: Workbench, ledger: Ledger, clock: Clock) -> Comeback:
    """Everything that bringing it back needs. Raises WrongInput."""
    from fleet.deploy import secrets, skew
    from fleet.deploy.opening import named
    from fleet.resume.resume import Comeback, Terms

    run = ledger.run(back.run)
    terms = Terms(
        policy=policy_of(run, where(back), back.max_price),
        count=whole(back.gpu_count, "--gpu-count", 1, MOST_GPUS) if back.gpu_count else None,
        where=named(back.provider) or last_here(ledger, run.name),
        force=back.force,
        from_start=back.from_start,
        same=back.same,
        more=bool(back.steps or back.set),
    )
    asked_of(back, run)  # a limit that makes no sense is told before anything is asked or ended
    return Comeback(
        ledger,
        providers_of(work, ledger, clock, run.name, back.provider),
        clock,
        say,
        stored,
        secrets.found(os.environ),
        login_of(run, work),
        terms,
        rebuilt=lambda: rebuilt(back, work, clock),
        agree=lambda words: agreed(f"{words}?", back.yes),
        asked=lambda now: asked_of(back, now),
        fit=lambda provider: skew.refuse(provider, clock, os.environ),
    )


def last_here(ledger: Ledger, run: str) -> tuple[str, ...]:
    """A run on this machine goes on on this machine unless another provider is named; else (): where there is a key."""
    from fleet.deploy.opening import LOCAL

    machines = ledger.known(run)
    return (LOCAL,) if machines and machines[-1].provider == LOCAL else ()


def providers_of(work: Workbench, ledger: Ledger, clock: Clock, run: str, named: list[str]) -> dict[str, Provider]:
    """Those that may be rented from, and those where machines of the run are or may be. Raises WrongInput, with where
    to get one, for one of them without a key: before anything is asked of the others."""
    from fleet.deploy.ending import providers_of as at
    from fleet.deploy.opening import LOCAL, chosen

    last = [one.provider for one in ledger.known(run)[-1:] if one.provider == LOCAL]
    names = (*keyed(named), *sorted(at(ledger, run)), *last)
    if not names:
        keyed_or_told()
    return clients(work, clock, chosen(tuple(dict.fromkeys(names)), os.environ, Path.home()))


def keyed_or_told() -> None:
    """Raises WrongInput: no key of any provider, with where to get one."""
    from cli.fleet_runs import keyed_or_told as tell

    tell()


def login_of(run: Run, work: Workbench) -> Login | None:
    """The user's login for a private image. Raises WrongInput when it is gone."""
    from fleet.deploy.image import choose

    box = run.plan.get("container") or {}
    return choose(work, named=run.image).login if box.get("private") else None


def stored(url: str) -> list[Saved]:
    """The checkpoints at a store, as `checkpoints --remote` lists them. Raises OutsideFailed, WrongInput."""
    from fleet.resume.saved import Saved
    from trainer.commands.checkpoint_rows import WHOLE, at_store
    from trainer.errors import WRONG_INPUT, TrainerError

    try:
        rows = at_store(url)
    except TrainerError as failed:
        kind = WrongInput if failed.exit_code == WRONG_INPUT else OutsideFailed
        raise kind(failed.what, failed.next_step) from None
    return [
        Saved(row["step"], row["path"], row["state"] == WHOLE, row["why"] or "", row["of"], row["end"] or "")
        for row in rows
        if row["step"] is not None
    ]


def known(back: Back, work: Workbench, ledger: Ledger, clock: Clock) -> None:
    """The run in the ledger, or, when that has lost it, found again by tags and environment, else begun from its store.

    Raises WrongInput without --remote, OutsideFailed while a provider does not answer, Refused for a machine that may
    be somebody else's.
    """
    from fleet.deploy.container import checked_remote
    from fleet.ledger.values import Run
    from fleet.resume.saved import newest

    if back.run in {run.name for run in ledger.runs()}:
        return
    remote = checked_remote(back.remote or os.environ.get("STOKER_REMOTE", ""))
    if not remote:
        try:
            ledger.run(back.run)
        except WrongInput as unknown:
            step = unknown.next_step or "./inv status lists them"
            raise WrongInput(unknown.what, f"{step}; without its ledger: --remote URL --profile NAME") from None
    say(f"the ledger does not know `{back.run}`: looking for it at the providers")
    found_again(back.run, remote, clients(work, clock, keyed()), ledger, clock)
    if back.run in {run.name for run in ledger.runs()}:
        return
    there = newest(stored(remote))
    if there is None and not back.from_start:
        raise CheckFailed(
            f"no provider has a machine of `{back.run}`, and no whole checkpoint is at {remote}",
            f"./inv deploy --name {back.run} begins it",
        )
    made, _ = rebuilt(replace(back, remote=remote), work, clock)
    ledger.add_run(Run(back.run, made.profile, made.image, limits=made.limits, remote=remote, policy=made.policy))
    ledger.tell(back.run, "recovered", f"from {remote}" + (f", step {there.step}" if there else ""))


def found_again(run: str, remote: str, providers: Mapping[str, Provider], ledger: Ledger, clock: Clock) -> None:
    """Machines of the run that the ledger has lost become its own again."""
    from fleet.launch.reconcile import reconcile
    from fleet.resume.strays import strays, taken

    found = strays(ledger, providers, run, remote)
    ours = [one for one in found if one.instance.tag.startswith(f"stk-{ledger.id}-")]
    adopt = taken([one for one in found if one not in ours], run)
    if found:
        for row in reconcile(ledger, providers, clock, adopt=adopt):
            say(f"{row.provider} {row.id}: {row.words}".strip())


def rebuilt(back: Back, work: Workbench, clock: Clock) -> tuple[Run, Login | None]:
    """The run as `deploy` would begin it now, with the same flags. Raises what `deploy` raises."""
    from cli.fleet_deploy import resolved

    if not back.profile and not back.image:
        raise WrongInput(
            f"the ledger does not know what `{back.run}` was started with",
            f"./inv resume {back.run} --profile NAME, and the flags it was deployed with",
        )
    names = ("profile", "image", "model_size", "depth", "set", "steps", "tokens", "provider", "gpu_count")
    limits = ("max_price", "budget", "hours", "remote")
    asked = Asked(name=back.run, spot=back.spot_then_on_demand, **{one: getattr(back, one) for one in names + limits})
    made, _ = resolved(asked, work, clock, None)
    return made.run(), made.image.login


def told(done: Resumed, json: bool) -> None:
    """What there is now. Raises CheckFailed when it is rented and not known to train."""
    deployed = done.deployed
    one = deployed.instance if deployed else None
    waiting = deployed.waiting if deployed else ""
    if json:
        show.document(
            {
                "format": 1,
                "run": done.run,
                "rented": one is not None,
                "provider": one.provider if one else None,
                "id": one.id if one else None,
                "usd_hour": str(one.usd_hour) if one and one.usd_hour is not None else None,
                "from_step": done.step,
                "step": deployed.signs.step if deployed else None,
                "trains": not waiting if deployed else None,
                "words": done.words,
            }
        )
    elif one is None or deployed is None:
        print(f"{done.run} {done.words}")
    else:
        begun = f"from step {done.step}" if done.step is not None else "from the start"
        state = f"trains: step {deployed.signs.step}, {begun}" if not waiting else f"is not known to train: {waiting}"
        print(f"{done.run} {state}; {one.provider} {one.id}")
        print(f"  see      ./inv status; ./inv report {done.run}; ./inv logs {done.run} --follow")
        print(f"  keep     ./inv watch {done.run} --resume")
        print(f"  end      ./inv terminate {done.run}")
    if waiting:
        raise CheckFailed(f"{done.run} is not known to train: {waiting}; the machine is kept", f"./inv logs {done.run}")
