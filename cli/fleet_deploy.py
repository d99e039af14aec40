"""`offers` and `deploy`: read the flags, ask the fleet, show, and only then rent."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli import fleet_show, show
from cli.fleet_agree import agreed
from cli.fleet_asked import wishes_of
from cli.fleet_flags import Asked
from cli.fleet_market import market_of, profile_of, providers_of, wanted_of
from cli.fleet_rehearsal import books, tell_rehearsal
from cli.fleet_training import no_model
from profiles.errors import CheckFailed, WrongInput

if TYPE_CHECKING:
    from fleet.clock import Clock
    from fleet.deploy.deploy import Deployed
    from fleet.deploy.deployment import Deployment
    from fleet.ledger.ledger import Ledger
    from fleet.providers.provider import Provider
    from images.workbench import Workbench


def offers(asked: Asked, work: Workbench) -> None:
    """What can be rented now for a profile's run, or of a GPU type. Raises CheckFailed when nothing will do."""
    from fleet.clock import open_clock
    from fleet.deploy.filter import without_spot

    clock = open_clock()
    tell_rehearsal(work)
    profile = None if asked.gpu and not asked.profile and no_model(asked) else profile_of(asked, work)
    wanted = wanted_of(asked, work, profile, None)
    providers = providers_of(wanted.wishes, work, clock, os.environ)
    found = market_of(wanted, providers, clock)
    notes = [*wanted.notes, *without_spot(wanted.wishes, {name: one.lacks for name, one in providers.items()})]
    if asked.json:
        show.document({"format": 1, **found.to_json(), "assumed": notes})
    else:
        fleet_show.warn(notes)
        if found.ranked or asked.dropped:
            fleet_show.offers(found, asked.dropped)
        else:
            fleet_show.warn(found.failures.values(), "warning")
    found.refuse_empty()


def deploy(asked: Asked, work: Workbench) -> None:
    """Rents a machine for the run and waits until it trains. Raises Refused without a yes."""
    from fleet.clock import open_clock
    from fleet.deploy import skew
    from fleet.ledger.opening import open_ledger

    clock = open_clock()
    tell_rehearsal(work)
    if asked.dry_run:
        made, providers = resolved(asked, work, clock, None)
        return dry(made, providers, clock, asked.json)
    with open_ledger(books(work), clock) as ledger:
        fleet_show.warn([ledger.moved] if ledger.moved else [], "warning")
        if run := unfinished(asked, work, ledger):
            return went_on(run, asked, work, ledger, clock)
        made, providers = resolved(asked, work, clock, ledger)
        if not asked.json:
            show.pairs(fleet_show.deployment(made), False)
        fleet_show.warn(made.notes)
        fleet_show.warn(made.market.failures.values(), "warning")
        skew.refuse(made.first.offer.provider, clock, os.environ)
        price = f"{made.first.usd_hour:.2f} USD/h"
        confirm(f"rent it for {price}?", f"this would rent a machine for {price}", asked)
        return told(launch(made, ledger, providers, clock), made.to_json(), asked.json, providers)


def unfinished(asked: Asked, work: Workbench, ledger: Ledger) -> str:
    """The run whose deploy died half way and left a machine, or what may have become one; "" for none."""
    from fleet.deploy.again import left
    from fleet.deploy.names import run_name

    name = asked.name
    if not name and (asked.profile or not asked.image):
        profile = profile_of(asked, work)
        name = run_name(ledger, "", profile.name) if profile else ""
    return name if name and left(ledger, name) and not ledger.held_by(name) else ""


def went_on(run: str, asked: Asked, work: Workbench, ledger: Ledger, clock: Clock) -> None:
    """Goes on with it instead of renting another; what else is asked for now is for the next deploy."""
    from fleet.deploy import secrets
    from fleet.deploy.again import go_on
    from fleet.deploy.image import choose
    from fleet.deploy.opening import opened

    kept = ledger.run(run)
    where = dict.fromkeys(attempt.provider for attempt in ledger.attempts(run))
    providers = opened(where, work.store.root, os.environ, clock)
    say(f"a deploy of `{run}` was stopped half way: going on with what it ordered")
    confirm(f"go on with `{run}`?", f"this would go on with `{run}`", asked)
    login = choose(work, named=kept.image).login if kept.plan["container"]["private"] else None
    done = go_on(ledger, kept, providers, secrets.found(os.environ), login, clock, say)
    told(done, {"run": run, "image": kept.image, "profile": kept.profile}, asked.json, providers)


def resolved(
    asked: Asked, work: Workbench, clock: Clock, ledger: Ledger | None
) -> tuple[Deployment, dict[str, Provider]]:
    """Everything decided, nothing created. ledger None: a dry run, which keeps nothing."""
    from fleet.deploy import secrets
    from fleet.deploy.container import public_key, refuse_own_disk
    from fleet.deploy.deployment import assemble
    from fleet.deploy.filter import without_spot
    from fleet.deploy.image import choose, newest, refuse_unreachable
    from fleet.deploy.login import enterable
    from fleet.deploy.names import run_name
    from fleet.deploy.opening import rented
    from fleet.deploy.volume import chosen

    held, wishes = secrets.found(os.environ), wishes_of(asked, work.settings, os.environ)
    image = choose(work, named=asked.image) if asked.image else None
    profile = profile_of(asked, work, image, built=True)
    if profile is None:
        raise WrongInput("no profile says what this image needs", "--profile NAME")
    if image is None:
        newest(work, profile.name)  # an image that is not built is told before a key that is not there
    name = run_name(ledger, wishes.name, profile.name) if ledger else wishes.name or profile.name
    providers = providers_of(wishes, work, clock, os.environ)
    image = image or choose(work, profile.name)
    refuse_unreachable(image, rented(providers, os.environ))
    volume = None
    if asked.volume:
        volume = chosen(asked.volume, providers)
        providers = {volume.provider: providers[volume.provider]}
    refuse_own_disk(wishes.remote, rented(providers, os.environ), profile.volume or "/workspace", volume)
    providers, shut = enterable(providers, os.environ, Path.home())
    told = (*shut, *without_spot(wishes, {name: one.lacks for name, one in providers.items()}))
    wanted = wanted_of(asked, work, profile, image, volume)
    bad = bad_machines(ledger, providers) if ledger else {}
    made = assemble(
        profile,
        image,
        wanted.needs,
        market_of(wanted, providers, clock, bad),
        wishes,
        name=name,
        held=held,
        public_key=public_key(os.environ, Path.home()),
        goal=goal_of(wanted.training),
        assumed=(*wanted.notes, *told),
        flags=wanted.flags,
    )
    return made, providers


def goal_of(training: Any) -> dict[str, Any]:
    """What is to be reached, for the ledger."""
    return {} if training is None else {"kind": training.goal.kind, "amount": training.goal.amount}


def bad_machines(ledger: Ledger, providers: Mapping[str, Provider]) -> dict[str, set[str]]:
    """Machines that failed not long ago, by provider."""
    return {name: {one.machine for one in ledger.bad_machines(name)} for name in providers}


def dry(made: Deployment, providers: Mapping[str, Provider], clock: Clock, json: bool) -> None:
    """The exact requests, secrets masked."""
    from fleet.deploy import dryrun

    password = made.image.login.password if made.image.login else ""
    shown = dryrun.requests(made, providers, clock.now())
    rows = dryrun.rows(shown, made.recipe.secrets, password)
    if json:
        return show.document({"format": 1, "dry_run": True, **made.to_json(), "requests": rows})
    show.pairs(fleet_show.deployment(made), False)
    print()
    fleet_show.requests(rows)
    return fleet_show.warn(made.notes)


def confirm(question: str, what: str, asked: Asked) -> None:
    """A yes from a person, or --yes. Raises Refused: nothing was created."""
    agreed(
        question,
        asked.yes or asked.auto_launch,
        alone=f"{what}, and",
        flags="--yes, or --dry-run",
        refused="not deployed: nothing was created",
        step="--dry-run shows the requests",
    )


def launch(made: Deployment, ledger: Ledger, providers: Mapping[str, Provider], clock: Clock) -> Deployed:
    """The machine. A failure comes with the table of what was tried."""
    from fleet.deploy.deploy import deploy as carry_out
    from fleet.launch.outcomes import NoMachine

    try:
        return carry_out(made, ledger, providers, clock, say)
    except NoMachine as failed:
        fleet_show.tried(failed)
        raise


def say(text: str) -> None:
    """A step, beside the answer."""
    print(text, file=sys.stderr, flush=True)


def told(done: Deployed, made: Mapping[str, Any], json: bool, providers: Mapping[str, Provider]) -> None:
    """What there is now and how to see, stop and resume it. Raises CheckFailed when it is not known to train."""
    one = done.instance
    price = "a price it does not tell" if one.usd_hour is None else f"{one.usd_hour:.2f} USD/h"
    if json:
        show.document(
            {
                "format": 1,
                **made,
                "provider": one.provider,
                "id": one.id,
                "tag": one.tag,
                "usd_hour": None if one.usd_hour is None else str(one.usd_hour),
                "trains": not done.waiting,
                "step": done.signs.step,
                "waiting": done.waiting or None,
            }
        )
    else:
        state = f"trains: step {done.signs.step}" if not done.waiting else f"is not known to train: {done.waiting}"
        shell = "" if "ssh" in providers[one.provider].lacks else f"; ./inv ssh {done.run}"
        print(f"{done.run} {state}; {one.provider} {fleet_show.brief(one.id)}, {price}")
        print(f"  see      ./inv status; ./inv logs {done.run} --follow{shell}")
        print(f"  end      ./inv terminate {done.run}")
        print(f"  go on    ./inv resume {done.run}, after a loss")
    if done.waiting:
        raise CheckFailed(
            f"{done.run} is not known to train: {done.waiting}; the machine is kept and costs {price}",
            f"./inv logs {done.run}; to end it: ./inv terminate {done.run}",
        )
