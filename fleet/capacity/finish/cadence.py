"""How often to save: sqrt(2 x stall x time between failures) (Young 1974, CACM 17-9; Daly 2006, FGCS 22-3).

The stall is the copy of a GPU's share into host memory; writing and sending go on beside the training. An interval
shorter than those two gains nothing: one save is in flight at a time, and only what is whole elsewhere survives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

NICE = (1, 2, 5)  # times powers of ten: the optimum is flat, sqrt(2.5) beside it costs some 10% of a small overhead


@dataclass(frozen=True, slots=True)
class Cadence:
    """seconds and steps between saves; optimum: Young and Daly's; bound: what decided (young-daly, write, ...).

    at_risk: seconds of training lost by an interruption, on average, restart not counted.
    """

    steps: int
    seconds: float
    optimum: float
    bound: str
    stall: float
    at_risk: float


def young_daly(stall: float, mtbf: float) -> float:
    """The best interval in seconds; both in seconds. Raises ValueError for a negative one."""
    if stall < 0 or mtbf < 0:
        raise ValueError(f"stall {stall} and mtbf {mtbf} are seconds")
    return math.sqrt(2.0 * stall * mtbf)


def cadence(step: float, stall: float, mtbf: float, write: float, upload: float, asked: int = 0) -> Cadence:
    """All in seconds; step: of one optimizer step; upload: 0 when nothing is sent; asked: steps, 0: the best.

    On average half an interval is lost, and the time the newest checkpoint took to be whole where it survives.
    """
    best = young_daly(stall, mtbf)
    if asked:
        steps, bound = asked, "asked"
    else:
        least = max(write, upload)
        bound = "young-daly" if best >= least else "upload" if upload >= write else "write"
        steps = nice(max(best, least) / step, least / step)
    seconds = steps * step
    return Cadence(steps, seconds, best, bound, stall, seconds / 2 + write + upload)


def nice(steps: float, least: float = 0.0) -> int:
    """The nearest of 1, 2, 5, 10, 20, 50, ... by ratio, that is not below `least` (both in steps)."""
    if steps <= 1 and least <= 1:
        return 1
    top = max(steps, least)
    choices = [int(digit * 10**power) for power in range(len(str(math.ceil(top))) + 1) for digit in NICE]
    allowed = [choice for choice in choices if choice >= least]
    return min(allowed, key=lambda choice: abs(math.log(choice / max(steps, 1e-9))))
