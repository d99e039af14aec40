"""The learning rate of a step as a fraction of the base rate: a pure function, so a resumed run has the same rates."""

from __future__ import annotations

import math

from trainer import config


def scale(step: int, optim: config.Optim, steps: int) -> float:
    """Fraction of the base rate for the step after `step` done ones: 1.0 at the peak, min_lr / lr at the end.

    Linear warm-up over `warmup` steps, (step + 1) / warmup. Then, up to `decay_steps` (`steps` when that is 0; where
    it is not, the length of the run changes no rate):
      cosine    half a cosine from the warm-up's end
      wsd       1, then 1 - sqrt(part) over the last decay_fraction (Hägele et al. 2024, arXiv 2405.18392: better than
                a straight line for the cool-down of warm-up, stable, decay)
      linear    1, then a straight line over the last decay_fraction (the warm-down of nanochat and modded-nanogpt)
      constant  1, for ever
    The last fraction counts from all of decay_steps, but never reaches into the warm-up. Afterwards the floor stays.
    The same fraction goes for every group: AdamW's and Muon's rates rise and fall together.
    """
    if step < optim.warmup:
        return (step + 1) / optim.warmup
    if optim.schedule == "constant":
        return 1.0
    floor = optim.min_lr / optim.lr if optim.lr else 0.0
    return floor + (1.0 - floor) * _height(step, optim, optim.decay_steps or steps)


def _height(step: int, optim: config.Optim, end: int) -> float:
    """1 at the peak, 0 at and after `end`."""
    start = optim.warmup
    if optim.schedule != "cosine":
        start = max(start, end - round(optim.decay_fraction * end))
    part = min(1.0, max(0.0, (step - start) / max(1, end - start)))
    if optim.schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * part))
    return 1.0 - math.sqrt(part) if optim.schedule == "wsd" else 1.0 - part
