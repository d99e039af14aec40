"""Reads our own export back: config.json and safetensors to a shape and canonical tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from trainer import config
from trainer.after import hub_config, names, weight_files, weight_names
from trainer.after.place import CONFIG, read_json
from trainer.errors import OUTSIDE_FAILED, TrainerError
from trainer.model.shape import check_shape


def read(folder: Path) -> tuple[config.Model, dict[str, Tensor], dict[str, Any]]:
    """Shape, canonical tensors and the facts of stoker.json. Raises TrainerError for what is missing or damaged."""
    shape = hub_config.from_hub(read_json(folder / CONFIG), folder / CONFIG)
    check_shape(shape)
    try:
        tensors = names.from_hub(weight_files.read(folder), shape)
    except KeyError as error:
        hint = "give a folder made by `export`"
        raise TrainerError(f"export {folder} has no tensor {error}", hint, OUTSIDE_FAILED) from None
    return shape, tensors, facts(folder)


def facts(folder: Path) -> dict[str, Any]:
    """What the export noted of its run; empty for one that others made."""
    noted: dict[str, Any] = read_json(folder / weight_names.NOTE, missing={}).get("facts", {})
    return noted
