"""How long is waited for what. All in seconds of the clock that is passed in."""

from __future__ import annotations

from dataclasses import dataclass

SLOW = 12.5e6  # bytes per second: 100 Mbit/s, a slow host's pull of an image


@dataclass(frozen=True, slots=True)
class Patience:
    """look, look_every, reads: a create without an answer is looked for that long, in at least so many clean complete
    lists, before it counts as not made (providers.md 0.1); undecided: and that long when lists fail.

    appear: until a created machine is listed; pending, starting, running: each stage, from its begin; starting goes on
    up to `most_progress` times as long while the machine tells something new; poll: between two looks.
    ending: until a machine has to be proven gone; gone_reads: clean lists in a row without it.
    busy: times that a provider may say "too often" for one offer; attempts, total: of one launch; reserve: of money,
    seconds that must be affordable before a machine is ordered; excluded: that a bad machine is left out.
    """

    look: float = 180.0
    look_every: float = 15.0
    reads: int = 5
    undecided: float = 900.0
    appear: float = 180.0
    pending: float = 900.0
    starting: float = 1200.0
    running: float = 900.0
    most_progress: float = 3.0
    poll: float = 10.0
    ending: float = 900.0
    gone_reads: int = 2
    busy: int = 4
    attempts: int = 12
    total: float = 4 * 3600.0
    reserve: float = 900.0
    excluded: float = 24 * 3600.0

    @classmethod
    def of(cls, image_bytes: int) -> Patience:
        """Patience for an image of that size: a slow host may take its time for a big one, a small one is no excuse.

        Other tools' fixed ten minutes ended machines that were still pulling (providers.md 6.2 row 4).
        """
        return cls(starting=600.0 + 2 * image_bytes / SLOW, running=900.0 + 2 * image_bytes / SLOW)


USUAL = Patience()


def unsaid(words: str) -> None:
    """Where nobody is told what is waited for."""
