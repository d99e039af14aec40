"""Which checkpoints the store keeps, and which are not worth sending."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from trainer.checkpoint import folder, retention
from trainer.sync.remote import Remote, best_of


@dataclass(frozen=True)
class Rules:
    """keep: newest checkpoints that stay at the store, 0 for all; keep_every: multiples of so many steps stay, 0 for
    none; the best stays. rewound: the run was taken back to this step on purpose; what it had made beyond that goes
    when one that was made since has arrived, so that a training which never began costs nothing."""

    keep: int = 0
    keep_every: int = 0
    rewound: int | None = None

    def replaced(self, ours: Collection[int]) -> bool:
        """Whether the run was taken back, and has made a checkpoint since."""
        return self.rewound is not None and max(ours, default=-1) > self.rewound


def unworthy(steps: Collection[int], there: Sequence[Remote], rules: Rules, protect: Collection[int]) -> set[int]:
    """Which of our `steps` need not be sent: the store would drop them at once, and has a newer one."""
    complete = {found.step for found in there if found.complete}
    every = {*steps, *complete}
    newest = max(complete, default=-1)
    return {step for step in _expendable(every, rules, _kept(there, protect)) if step in steps and step < newest}


def surplus(there: Sequence[Remote], rules: Rules, protect: Collection[int]) -> list[Remote]:
    """What the store may drop, oldest first: complete ones beyond the rules. The newest complete one never, nor any
    without a newer one that is complete.

    protect: steps that stay, whatever the rules say.
    """
    complete = {found.step: found for found in there if found.complete}
    newest = max(complete, default=-1)
    going = _expendable(set(complete), rules, _kept(there, protect))
    return [complete[step] for step in sorted(going) if step < newest]


def leftovers(there: Sequence[Remote], ours: Collection[int]) -> list[Remote]:
    """Half-sent ones that nobody will send to their end: not complete, older than a complete one, and no longer
    here."""
    newest = max((found.step for found in there if found.complete), default=-1)
    return [found for found in there if not found.complete and found.step < newest and found.step not in ours]


def beyond(there: Sequence[Remote], ours: Collection[int], arrived: Collection[str]) -> list[Remote]:
    """Complete ones newer than our newest, when that has arrived: made before the run was taken back, or elsewhere.

    arrived: names of ours that are there; another run's, or another turn's, may have the same step.
    """
    newest = max(ours, default=-1)
    if folder.name_of(newest) not in arrived:
        return []
    return [found for found in there if found.complete and found.step > newest]


def _kept(there: Sequence[Remote], protect: Collection[int]) -> set[int]:
    best = best_of(list(there))
    return {*protect, *([best] if best is not None else [])}


def _expendable(steps: Collection[int], rules: Rules, protect: Collection[int]) -> list[int]:
    if rules.keep <= 0:
        return []
    return list(retention.expendable(sorted(steps), rules.keep, rules.keep_every, protect))
