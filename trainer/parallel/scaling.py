"""fp16's loss scale in one form, for torch's GradScaler and DeepSpeed's DynamicLossScaler.

{"scale": float, "good_steps": int}: the scale, and the steps since it last changed that count towards doubling it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def of_torch(scaler: Any) -> dict[str, Any] | None:
    """A GradScaler's; None for none."""
    return (
        {"scale": float(scaler.get_scale()), "good_steps": scaler.state_dict()["_growth_tracker"]} if scaler else None
    )


def to_torch(scaler: Any, told: Mapping[str, Any] | None) -> None:
    """Sets a GradScaler. Without a scaler, or nothing told, what is there stays.

    torch doubles at the step that makes it growth_interval good ones, and never if their number is already beyond it
    (aten/src/ATen/native/cuda/AmpKernels.cu, amp_update_scale: `==`).
    """
    if scaler and told:
        state = scaler.state_dict()
        good = min(int(told["good_steps"]), state["growth_interval"] - 1)
        scaler.load_state_dict({**state, "scale": float(told["scale"]), "_growth_tracker": good})


def of_deepspeed(scaler: Any) -> dict[str, Any]:
    """A DynamicLossScaler's (runtime/fp16/loss_scaler.py).

    It counts from the last overflow and doubles at the step after each full window, so numbers a window apart are the
    same to it, except that 0 good steps are not a full window.
    """
    good = int(scaler.cur_iter - scaler.last_overflow_iter - 1)
    if good > scaler.scale_window:
        good = (good - 1) % int(scaler.scale_window) + 1
    return {"scale": float(scaler.cur_scale), "good_steps": good}


def to_deepspeed(scaler: Any, told: Mapping[str, Any] | None) -> None:
    """Sets a DynamicLossScaler; nothing told: it stays as it is."""
    if told:
        scaler.cur_scale = float(told["scale"])
        good = min(int(told["good_steps"]), int(scaler.scale_window))
        scaler.last_overflow_iter = scaler.cur_iter - good - 1
