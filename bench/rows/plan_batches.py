"""The batch-size table of the FP8 guide, made true: its model, its lengths, one GPU of each kind."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from cli.workload import shape_of
from fleet.capacity.advice.batches import LENGTHS, batches
from fleet.capacity.workload import Workload
from profiles.gpus import gpu
from trainer.config.presets import PRESETS, configured

PRESET = "superbpe-0.6b"
CARDS = (
    *("rtx3090", "rtx4090", "rtx5090", "l40s", "a100-40-sxm", "a100-80-sxm"),
    *("h100-pcie", "h100-sxm", "h100-nvl", "h200-sxm", "rtx-pro-6000", "b200"),
)


def workload() -> Workload:
    """What the guide trains; a GPU without FP8 trains in bf16."""
    model = configured(PRESETS[PRESET]).model
    return Workload(shape_of(model, PRESET), model.context, 256)


def table() -> dict[str, Any]:
    """Largest micro-batches that surely fit, and tokens/s with them."""
    cells = batches(workload(), [gpu(name) for name in CARDS], LENGTHS)
    return {"preset": PRESET, "lengths": LENGTHS, "cells": [asdict(cell) for cell in cells]}
