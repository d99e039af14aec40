"""A market that takes machines away, and in which capacity moves about: one provider has machines, the others have sold
out, and which one it is changes with every loss."""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Stock = Mapping[str, int | None]  # None: no limit


@dataclass
class Storm:
    """Takes machines away. steps: tells the newest step at the store; lost: (provider, id, step there) of each; ended:
    why it ended early."""

    urls: Mapping[str, str]
    steps: Callable[[], int]
    most: int
    seed: int
    lost: list[tuple[str, str, int]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    broken: str = ""
    _full: dict[str, Stock] = field(default_factory=dict)
    _turns: list[str] = field(default_factory=list)  # providers that have machines next, one after the other
    _open: str = ""

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._full = {name: shelves(name, url) for name, url in self.urls.items()}
        self._turn()

    def blow(self) -> None:
        """Until enough machines are lost: each one after it has saved something new."""
        try:
            begun = dict[str, int]()
            while not self.over.wait(0.2) and len(self.lost) < self.most:
                self._sell_out()  # a machine that was lost is free again, where there shall be none
                for name, id in self._machines():
                    self._strike(name, id, begun)
            for name in self.urls:
                self._restock(name)
        except Exception as failure:
            self.broken = f"the storm broke: {failure!r}"
            raise

    @property
    def counts(self) -> str:
        """How many each provider took."""
        return ", ".join(f"{count} at {name}" for name, count in sorted(Counter(one[0] for one in self.lost).items()))

    def _strike(self, name: str, id: str, begun: dict[str, int]) -> None:
        step = self.steps()
        if step <= begun.setdefault(id, step) or len(self.lost) >= self.most:
            return
        time.sleep(self._draw.uniform(0, 0.5))  # anywhere between two checkpoints
        how = {"runpod": {"how": self._draw.choice(["exited", "error", "gone"])}, "vast": {"force": True}}.get(name, {})
        if asked(f"{self.urls[name]}/_sim/preempt", {"id": id, **how}) is not None:
            self._turn()
            self.lost.append((name, id, step))
            del begun[id]  # a machine that comes back by itself has to train first, too

    def _turn(self) -> None:
        """The next provider has machines; each of them as often as the others."""
        if not self._turns:
            self._turns = self._draw.sample(sorted(self.urls), len(self.urls))
        self._open = self._turns.pop()
        self._sell_out()
        self._restock(self._open)

    def _sell_out(self) -> None:
        for name, url in self.urls.items():
            if name != self._open:
                asked(f"{url}/_sim/stock", dict.fromkeys(self._full[name], 0))

    def _restock(self, name: str) -> None:
        asked(f"{self.urls[name]}/_sim/stock", self._full[name])

    def _machines(self) -> list[tuple[str, str]]:
        """Those that run now."""
        found = []
        for name, url in self.urls.items():
            rows = (asked(f"{url}/_sim/rentals") or {}).get("rentals", [])
            found += [(name, str(row["id"])) for row in rows if row["alive"]]
        return found


def shelves(name: str, url: str) -> Stock:
    """All that a simulator rents out, with how much of it there is. RunPod's has no limit where none is set."""
    there: dict[str, int | None] = dict(asked(f"{url}/_sim/stock") or {})
    if name == "runpod":
        from fleet.simulators.runpod.catalogue import GPUS
        from fleet.simulators.runpod.place import stock_key

        kinds = [(kind, centre) for kind, gpu in GPUS.items() for centre in gpu.centres]
        there |= {stock_key(cloud, kind, at): None for kind, at in kinds for cloud in ("SECURE", "COMMUNITY")}
    return there


def asked(url: str, body: Mapping[str, Any] | None = None) -> Any:
    """A simulator's side channel; None for a refusal."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.URLError:
        return None


def missed(lost: Sequence[tuple[str, str, int]], names: Sequence[str]) -> list[str]:
    """Providers that lost no machine, though there were losses enough for all."""
    hit = {name for name, _, _ in lost}
    return [name for name in names if name not in hit] if len(lost) >= len(names) else []
