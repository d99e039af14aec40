"""Ending an instance until nothing is left of it to bill (providers.md 0.2, point 6)."""

from __future__ import annotations

from collections.abc import Callable

from fleet.clock import Clock
from fleet.providers.vast.answers import PROVIDER, agreed, gone
from fleet.providers.vast.pace import DESTROY_AGAIN
from fleet.wire.failed import KeyRefused, ProviderFailed, Throttled
from fleet.wire.line import Line

ROUNDS = 5  # of the line's own repetitions; with growing pauses, about four minutes in all
PAUSE = 15.0


def terminate(opened: Callable[[float], Line], clock: Clock, id: str) -> None:
    """Destroys it; one that is not there is success. opened: a line that waits that many seconds before repeating.

    Repeats through 429, 5xx, lost answers and answers that make no sense. Raises ProviderFailed when it may still be
    there: giving up silently would leave a billed machine.
    """
    for attempt in range(1, ROUNDS + 1):
        try:
            with opened(DESTROY_AGAIN) as line:
                destroyed(line, id)
            return
        except ProviderFailed as failed:
            if isinstance(failed, KeyRefused) or attempt == ROUNDS or not passing(failed):
                raise type(failed)(
                    PROVIDER,
                    f"instance {id} may still be there and bill: {failed.what}",
                    f"end it again, or in the console; {failed.next_step}",
                    failed.status,
                    failed.code,
                ) from None
        clock.sleep(PAUSE * attempt)


def destroyed(line: Line, id: str) -> None:
    """One DELETE, which carries a body here (2.1)."""
    try:
        agreed(line.change("DELETE", f"/api/v0/instances/{id}/", {}), f"instance {id}")
    except ProviderFailed as failed:
        if not gone(failed):
            raise


def passing(failed: ProviderFailed) -> bool:
    """Whether the next try may go better."""
    return isinstance(failed, Throttled) or failed.status == 0 or failed.status in (200, 408) or failed.status >= 500
