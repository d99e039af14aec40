"""What Transformer Engine's versions call the same things.

From its sources, 1.11 to 2.20.2: `fp8_autocast(fp8_recipe, fp8_group)` became `autocast(recipe, amax_reduction_group)`
in 2.9, where the probes also moved from `fp8.FP8GlobalStateManager` to the package. Keywords only: orders changed too.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, cast

from trainer.errors import OUTSIDE_FAILED, TrainerError
from trainer.precision.resolved import Resolved

PACKAGE = "transformer_engine.pytorch"
RECIPES = "transformer_engine.common.recipe"
PROBES = {
    "fp8-delayed": "is_fp8_available",
    "fp8-current": "is_fp8_available",
    "fp8-block": "is_fp8_block_scaling_available",
    "mxfp8": "is_mxfp8_available",
    "nvfp4": "is_nvfp4_available",
}
CLASSES = {
    "fp8-delayed": "DelayedScaling",
    "fp8-current": "Float8CurrentScaling",
    "fp8-block": "Float8BlockScaling",
    "mxfp8": "MXFP8BlockScaling",
    "nvfp4": "NVFP4BlockScaling",
}


def package() -> ModuleType:
    """transformer_engine.pytorch. Raises TrainerError where it is absent or cannot be loaded."""
    try:
        return importlib.import_module(PACKAGE)
    except (ImportError, OSError, RuntimeError) as error:  # OSError: a library it links to, such as the driver's
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TrainerError(
            f"Transformer Engine cannot be loaded: {line}",
            "use an NGC image, pip install transformer_engine[pytorch], or precision.backend=native",
            OUTSIDE_FAILED,
        ) from None


def recipe(resolved: Resolved) -> Any:
    """The recipe object, always explicit: the library's default depends on the GPU and would change on a resume."""
    module = importlib.import_module(RECIPES)
    kind = getattr(module, CLASSES[resolved.name], None)
    if kind is None:
        raise TrainerError(
            f"this Transformer Engine has no {CLASSES[resolved.name]} for {resolved.name}",
            "use precision.name=auto, which chooses what is there",
        )
    if resolved.name != "fp8-delayed":
        return kind()
    return kind(
        margin=resolved.margin,
        fp8_format=module.Format.HYBRID,  # e4m3 forward, e5m2 backward; pure E5M2 is an AssertionError everywhere
        amax_history_len=resolved.amax_history,
        amax_compute_algo=resolved.amax_algorithm,
        reduce_amax=True,  # the same scales on all ranks: one rank's state is everybody's
    )


def region(te: ModuleType, enabled: bool, recipe: Any) -> AbstractContextManager[None]:
    """The library's autocast over the default process group."""
    if hasattr(te, "autocast"):
        new: AbstractContextManager[None] = te.autocast(enabled=enabled, recipe=recipe, amax_reduction_group=None)
        return new
    old: AbstractContextManager[None] = te.fp8_autocast(enabled=enabled, fp8_recipe=recipe, fp8_group=None)
    return old


def available(te: ModuleType, name: str) -> tuple[bool, str]:
    """Whether the library thinks this device can compute in the precision, and why not."""
    probe = PROBES[name]
    if hasattr(te, probe):
        yes, why = getattr(te, probe)(return_reason=True)
        return bool(yes), str(why)
    manager = importlib.import_module(f"{PACKAGE}.fp8").FP8GlobalStateManager
    if not hasattr(manager, probe):
        return False, f"this Transformer Engine has no {name}"
    return cast("tuple[bool, str]", getattr(manager, probe)())
