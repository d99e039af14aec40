"""Which checkpoints may go. Numbers alone: what is on the disk, and who is told, is the business of who calls."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def expendable(steps: Sequence[int], keep: int, keep_every: int, protect: Collection[int]) -> list[int]:
    """The steps that may go, oldest first: all but the newest `keep`, the multiples of keep_every, and `protect`.

    keep: at least 1, so that something always stays; keep_every: 0 for none; protect: the best, the newest verified,
    and those that have not reached a required remote store. In whatever order `steps` come. Raises ValueError.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}: at least one checkpoint stays")
    if keep_every < 0:
        raise ValueError(f"keep_every is {keep_every}: a number of steps, or 0")
    older = sorted(set(steps))[:-keep]
    return [step for step in older if step not in protect and not (keep_every and step % keep_every == 0)]
