"""Named configurations: what `train --preset NAME` starts from. The data is in recipes.py."""

from __future__ import annotations

import difflib

from trainer.config.check import check, resolve
from trainer.config.read import apply
from trainer.config.recipes import RECIPES, Preset
from trainer.config.schema import Config
from trainer.errors import TrainerError

__all__ = ["PRESETS", "Preset", "configured", "preset"]

PRESETS = {one.name: one for one in RECIPES}


def preset(name: str) -> Preset:
    """The preset of this name. Raises TrainerError with the nearest ones."""
    if name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(name, PRESETS, n=3)
    advice = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(PRESETS)}"
    raise TrainerError(f"there is no preset {name!r}", advice)


def configured(one: Preset) -> Config:
    """A checked Config of the defaults and this preset, nothing else."""
    config = Config()
    apply(config, one.values, f"preset {one.name}")
    resolve(config)
    check(config)
    return config
