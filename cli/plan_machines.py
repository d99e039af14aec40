"""On which machines: the profile's, those of --gpu and --gpu-count, and those to compare with; and their prices."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cli.amounts import wholes
from cli.plan_flags import Flags

if TYPE_CHECKING:
    from fleet.capacity.figure import Figure
    from fleet.offers.offer import Offer
    from profiles.gpus import Gpu
    from profiles.schema import Profile

COUNTS = (1, 2, 4, 8)  # of one machine, where nobody says
MOST_GPUS = 16_384  # the largest published run of one model (Llama 3 405B, arXiv 2407.21783)
PATIENCE = 4.0  # seconds for all providers together


@dataclass(frozen=True)
class Machines:
    """wanted: the one to report on, None: the best. others: what to compare it with."""

    wanted: tuple[Gpu, int] | None
    others: list[tuple[Gpu, int]] = field(default_factory=list)

    @property
    def shared(self) -> int:
        """GPUs that a batch should divide among, where nobody says how large it is."""
        return self.wanted[1] if self.wanted else max(count for _, count in self.others)


def machines_of(flags: Flags, profile: Profile | None) -> Machines:
    """Raises WrongInput for an unknown GPU, naming the nearest, and for a count that makes no sense."""
    from profiles.gpus import gpu, names, table

    typed = [part.strip().lower() for text in flags.gpu for part in text.split(",")]
    kinds = list(table().values()) if "all" in typed else [gpu(name) for name in typed]
    counts = wholes(flags.gpu_count, "--gpu-count", 1, MOST_GPUS)
    everything = [(one, count) for one in map(gpu, names()) for count in COUNTS]
    own = (gpu(profile.gpu.type), profile.gpu.count) if profile is not None and profile.gpu else None
    if not kinds and not counts:
        return Machines(own, everything)
    if not kinds:
        kinds = [own[0]] if own else [gpu(name) for name in names()]
    asked = [(one, count) for one in kinds for count in counts or ([own[1]] if own else COUNTS)]
    return Machines(asked[0], everything) if len(asked) == 1 else Machines(None, asked)


@dataclass(frozen=True)
class Market:
    """By GPU and count: price: USD per GPU-hour; offer: whose that is, None where --price or nobody said it."""

    price: Callable[[str, int], Figure | None]
    offer: Callable[[str, int], Offer | None] = lambda gpu, count: None


def prices_of(flags: Flags, machines: Machines, home: Path, notes: list[str], disk: float) -> Market:
    """As --price says, else of the providers that there are keys for. disk: bytes that a machine must at least hold.

    Adds a line to `notes` for each that failed, and where none is known. Raises WrongInput for a wrong --price.
    """
    from fleet.offers import price

    if flags.price:
        typed = price.typed(flags.price)
        if typed.every and not machines.wanted and len({one.key for one, _ in machines.others}) > 1:
            notes.append(f"{typed.every:g} USD per GPU-hour for every type of GPU: --price h100-sxm=2.49,... for each")
        # one price without a GPU's name is that of the machine that was named, not of every card there is
        meant = [*typed.own, machines.wanted[0].key] if machines.wanted else [one.key for one, _ in machines.others]
        return Market(lambda gpu, count: typed.price(gpu) if gpu in meant else None)
    from fleet.wire.keys import keys

    found = keys(os.environ, Path.home())
    if not found:
        notes.append("no prices: --price, or a key of RunPod, Vast.ai or Hyperbolic (RUNPOD_API_KEY, ...)")
        return Market(lambda gpu, count: None)
    from datetime import UTC, datetime

    from fleet.deploy.opening import books
    from fleet.offers.ask import chosen
    from fleet.offers.current import current
    from fleet.offers.offer import INTERRUPTIBLE, ON_DEMAND, SPOT, Question

    every = [*([machines.wanted] if machines.wanted else []), *machines.others]
    question = Question(
        tuple(dict.fromkeys(one.key for one, _ in every)), tuple(sorted({count for _, count in every})), flags.spot
    )
    now = datetime.now(UTC).astimezone()
    answer = current(
        books(home, os.environ), chosen(None, found), found, question, now, offline=flags.offline, deadline=PATIENCE
    )
    notes += answer.lines()
    kinds = (SPOT, INTERRUPTIBLE) if flags.spot else (ON_DEMAND,)
    listed = [offer for offer in answer.offers if offer.kind in kinds]
    fit = price.roomy(listed, disk / 1e9)
    if small := len(listed) - len(fit):
        notes.append(f"offers left out, with less than the {disk / 1e9:,.0f} GB of disk that this needs: {small}")
    return Market(
        lambda gpu, count: price.price(fit, gpu, count, kinds),
        lambda gpu, count: price.priced_by(fit, gpu, count, kinds),
    )
