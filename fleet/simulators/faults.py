"""Fault knobs: named, counted or by chance, drawn from a seeded generator, so that a bad day can be had again.

A knob is set by a table: `{"count": 2}` twice, `{"chance": 0.1}` one time in ten, `{"after": 5}` from the sixth on,
`{}` or true always; null or false takes it off. Whatever else the table holds is the knob's own arguments, e.g.
`{"list.lag": {"count": 1, "reads": 3}}`.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

OWN = ("count", "chance", "after")

# What providers.md section 4 asks of all three.
SHARED = (
    *("create.drop_after_commit", "create.5xx_after_commit", "create.5xx_before_commit", "create.slow"),
    *("create.429_before", "create.bad_2xx", "list.lag", "list.duplicate_tag"),
    *("status.unknown_value", "status.missing", "price.missing", "price.string", "price.jump", "vanish"),
    *("destroy.429", "destroy.5xx", "destroy.lost_answer", "destroy.404"),
    *("stuck_provisioning", "running_no_ssh", "ssh_refused", "ssh_wrong_key"),
    *("balance.zero", "balance.missing", "balance.negative", "auth.revoked_midway", "clock.skew"),
    *("read.5xx", "read.429", "read.drop", "read.slow"),  # ours: any GET, before it is answered
)


class UnknownFault(ValueError):
    """A knob this simulator does not have; the message names those it has."""


@dataclass
class _Knob:
    count: int | None
    chance: float | None
    after: int
    arguments: dict[str, Any]
    taken: int = 0


class Faults:
    """The knobs of one provider. Safe for threads; deterministic for one order of requests."""

    def __init__(self, names: Iterable[str] = (), seed: int = 0) -> None:
        """`names` are the knobs this provider has beside SHARED."""
        self.names = frozenset((*SHARED, *names))
        self.rng = random.Random(seed)
        self._knobs: dict[str, _Knob] = {}
        self._lock = threading.Lock()

    def set(self, wanted: Mapping[str, Any]) -> None:
        """Sets or takes off knobs; the others stay. Raises UnknownFault, ValueError for a table that makes no sense."""
        unknown = sorted(set(wanted) - self.names)
        if unknown:
            raise UnknownFault(f"no such fault: {', '.join(unknown)}; there are: {', '.join(sorted(self.names))}")
        read = {name: None if table in (None, False) else _read(name, table) for name, table in wanted.items()}
        with self._lock:
            for name, knob in read.items():
                if knob is None:
                    self._knobs.pop(name, None)
                else:
                    self._knobs[name] = knob

    def clear(self) -> None:
        """Takes all knobs off."""
        with self._lock:
            self._knobs.clear()

    def take(self, name: str, **about: object) -> dict[str, Any] | None:
        """Whether the fault strikes now: its arguments (perhaps an empty table: test `is not None`), or None.

        A counted knob is used up by it. `about` is what is being done: a knob whose arguments name one of these
        strikes only where they agree, e.g. `take("create.slow", tag=tag)` and {"create.slow": {"tag": "stk-1"}}.
        """
        assert name in self.names, name  # a misspelt name would be a fault that never strikes
        if name not in self._knobs:
            return None  # without the lock: asked a dozen times per pod of every list
        with self._lock:
            knob = self._knobs.get(name)
            if knob is None or any(knob.arguments.get(key, value) != value for key, value in about.items()):
                return None
            if knob.after > 0:
                knob.after -= 1
                return None
            if knob.count is not None and knob.count <= 0:
                return None
            if knob.chance is not None and self.rng.random() >= knob.chance:
                return None
            if knob.count is not None:
                knob.count -= 1
            knob.taken += 1
            return dict(knob.arguments)

    def deal(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Those of `names` that strike now, with their arguments: what a machine is born with."""
        found = ((name, self.take(name)) for name in names)
        return {name: arguments for name, arguments in found if arguments is not None}

    def shown(self) -> dict[str, Any]:
        """The knobs that are set, for the admin channel."""
        with self._lock:
            return {
                name: {
                    **knob.arguments,
                    **{own: getattr(knob, own) for own in OWN if getattr(knob, own)},
                    "taken": knob.taken,
                }
                for name, knob in sorted(self._knobs.items())
            }


def _read(name: str, table: Any) -> _Knob:
    if table is True:
        table = {}
    if not isinstance(table, Mapping):
        raise ValueError(f"{name}: a table, true, false or null")
    count, chance, after = table.get("count"), table.get("chance"), table.get("after", 0)
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 0):
        raise ValueError(f"{name}.count: a whole number from 0")
    if chance is not None and (isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance <= 1):
        raise ValueError(f"{name}.chance: a number from 0 to 1")
    if not isinstance(after, int) or isinstance(after, bool) or after < 0:
        raise ValueError(f"{name}.after: a whole number from 0")
    return _Knob(count, chance, after, {key: value for key, value in table.items() if key not in OWN})
