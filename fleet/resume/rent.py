"""One more machine for a run, or the one that was ordered before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fleet.deploy import traffic
from fleet.deploy.candidates import Priced
from fleet.launch.candidate import Candidate
from fleet.launch.launch import launch
from fleet.launch.outcomes import NoMachine
from fleet.launch.patience import Patience
from fleet.ledger.values import OPEN, Attempt, Run
from fleet.providers.values import Container, Instance
from fleet.resume.again import container, plan
from fleet.resume.decide import affordable, on_volume
from fleet.resume.losses import last_machine, losses
from fleet.resume.places import places
from fleet.resume.saved import BEYOND, Saved, last_step
from profiles.errors import Refused

if TYPE_CHECKING:
    from fleet.ledger.ledger import Ledger
    from fleet.resume.resume import Comeback


def rent(back: Comeback, run: Run, saved: Saved | None, before: str) -> Instance:
    """Rents by the policy, and keeps in the story what it goes on from. run: as it is asked for now, which is kept with
    the yes; before: the run's state when it was asked for.

    Raises as `launch`, and Refused at a limit, or when somebody has ended the run since: theirs is the last word.
    """
    ledger = back.ledger
    unchanged(ledger, run.name, before)
    if "container" not in run.plan and back.rebuilt is not None:
        made, back.login = back.rebuilt()
        run = replace(run, limits=made.limits, plan=made.plan, policy=made.policy, remote=made.remote, image=made.image)
    wanted = {name: one for name, one in back.providers.items() if not back.terms.where or name in back.terms.where}
    lost = losses(ledger, run.name) or [one for one in [last_machine(ledger, run.name)] if one is not None]
    found = places(ledger, run, wanted, back.terms.policy, lost, back.clock, back.terms.count)
    for words in found.failures.values():
        back.say(f"warning: {words}")
    boxes = [boxed(back, run, one) for one in found.tried]
    there = on_volume(run)
    step = f"step {saved.step}" if saved else f"what is on volume {there}" if there else "the start"
    first = found.tried[0]
    place = (
        f"{first.offer.count} x {first.offer.gpu} at {first.offer.provider}" if first.offer.count else "this machine"
    )
    back.fit(first.offer.provider)
    back.agree(f"rent {place} for {first.usd_hour:.2f} USD/h, to go on from {step}")
    unchanged(ledger, run.name, before)
    kept = {**plan(run, boxes[0]), **({BEYOND: saved.step} if past(back, run, saved) and saved else {})}
    ledger.change_run(
        run.name, limits=run.limits, plan=kept, policy=run.policy, remote=run.remote, image=run.image
    )  # what was typed counts from the yes on
    if before != OPEN:  # not before the yes: an open run without a machine is one that `watch --resume` rents for
        ledger.set_state(run.name, OPEN, "resumed")
    back.say(f"going on from {step}; {len(boxes)} offers, the first is {place} for {first.usd_hour:.2f} USD/h")
    wish = ledger.wish(run.name, f"resume, from {step}")
    candidates = [
        Candidate(back.providers[one.offer.provider], one.offer, box, one.bid)
        for one, box in zip(found.tried, boxes, strict=True)
    ]
    instance = launch(
        ledger,
        wish,
        candidates,
        found.usd_hour,
        back.clock,
        back.say,
        back.patience or Patience(),
        back.ready,
        back.providers,
    )
    ledger.tell(run.name, "resumed", f"on {instance.provider} {instance.id}, from {step}", instance.id)
    return instance


def past(back: Comeback, run: Run, saved: Saved | None) -> bool:
    """Whether the user wants more of a run that had ended early and well."""
    return (back.terms.force or back.terms.more) and saved is not None and last_step(run, [saved]) is not None


def unchanged(ledger: Ledger, run: str, before: str) -> None:
    """Raises Refused when the run is not in the state any more in which it was to be brought back."""
    state = ledger.run(run).state
    if state not in (before, OPEN):
        raise Refused(f"`{run}` is {state} by now: nothing is rented", f"./inv resume {run} opens it again")


def boxed(back: Comeback, run: Run, one: Priced) -> Container:
    """The container on one machine, which ends it when the limits are reached. Raises Refused when they are now."""
    now = back.clock.now()
    run = traffic.afterwards(back.ledger, run, one)
    hours = affordable(back.ledger, run, now, one.usd_hour)
    return container(run, one.offer, one.usd_hour, back.secrets, back.login, now, hours, one.disk_gb)


def taken_over(back: Comeback, run: Run, order: Attempt) -> Instance | None:
    """Waits for the machine that a dead process ordered; None when it came to nothing: it is ended then."""
    assert order.offer is not None
    now = back.clock.now()
    hours = affordable(back.ledger, run, now, order.usd_hour)
    box = container(run, order.offer, order.usd_hour, back.secrets, back.login, now, hours)
    wish = back.ledger.wish(run.name, "resume, gone on with")
    candidate = Candidate(back.providers[order.provider], order.offer, box)
    try:
        return launch(
            back.ledger,
            wish,
            [candidate],
            order.most_usd_hour,
            back.clock,
            back.say,
            back.patience or Patience(),
            back.ready,
            back.providers,
        )
    except NoMachine:
        return None
