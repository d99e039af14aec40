"""Starting a machine again that stands still: its disk holds what the run's remote lacks, and only it can send that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleet.ledger.values import OPEN
from fleet.providers.values import Instance
from fleet.resume.decide import affordable
from fleet.resume.rent import unchanged
from fleet.resume.saved import Saved, newest
from fleet.watch.ahead import STANDING, ahead
from fleet.watch.watched import STARTED, Watched
from profiles.errors import CheckFailed, StokerError

if TYPE_CHECKING:
    from fleet.resume.resume import Comeback, Resumed

WAIT, EVERY = 300.0, 15.0  # seconds until it has to be on its way, and between two looks


def started(back: Comeback, now: Watched, found: Sequence[Saved]) -> Resumed:
    """Starts the run's machine, which goes on by itself and sends: its container is as it was, with its deadline.

    Its disk is kept whatever comes. Raises Refused at a limit or without a yes, what the provider raises when it cannot
    (no GPU is free there any more), CheckFailed when the machine does not come up.
    """
    from fleet.resume.resume import Resumed

    known, ledger, name = now.known, back.ledger, now.run.name
    assert known is not None
    provider, place = back.providers[known.provider], f"{known.provider} {known.id}"
    affordable(ledger, now.run, back.clock.now(), known.usd_hour)
    there = newest(found)
    why = ahead(ledger, now, there.step if there else None, back.clock.now()).words(there.step if there else None)
    back.agree(f"start {place} again for {known.usd_hour:.2f} USD/h ({why})")
    unchanged(ledger, name, now.run.state)
    # Said before it is done, as a stop is: whoever watches must not take it for idle, or for stopped by the user.
    ledger.tell(name, STARTED, f"started again: {why}", known.id)
    if now.run.state != OPEN:
        ledger.set_state(name, OPEN, "resumed")
    provider.start(known.id)
    return Resumed(name, f"is started again on {place}, {up(back, name, known.instance)}: {why}")


def up(back: Comeback, name: str, instance: Instance) -> str:
    """Its state once it stands no longer. Raises CheckFailed when it still does after a while."""
    provider, end = back.providers[instance.provider], back.clock.now().timestamp() + WAIT
    words = ""
    while True:
        try:
            seen = provider.instance(instance.id)
        except StokerError as failed:  # the next look may succeed
            seen, words = None, failed.what
        if seen is not None and seen.state not in STANDING:
            return str(seen.state)
        words = seen.words or seen.status or str(seen.state) if seen is not None else words or "it is not listed"
        if back.clock.now().timestamp() >= end:
            raise CheckFailed(
                f"{instance.provider} {instance.id} does not come up: {words}; its disk is kept",
                f"./inv resume {name} --same again; --force ends it and goes on from what is at the remote",
            )
        back.clock.sleep(EVERY)
