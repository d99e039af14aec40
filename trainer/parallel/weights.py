"""The parameters of a model under the names of checkpoints, whatever wraps it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from trainer.errors import REFUSED, TrainerError

WRAPPERS = ("module.", "inner.")  # DistributedDataParallel, and our root module under DeepSpeed (zero.py)
COMPILED = "_orig_mod."  # torch.compile(block) keeps the block under this name


def canonical(name: str) -> str:
    """The name without what wrapping and compiling put into it."""
    for wrapper in WRAPPERS:
        name = name[len(wrapper) :] if name.startswith(wrapper) else name
    return name.replace(COMPILED, "")


def size(parameters: Iterable[torch.nn.Parameter]) -> int:
    """Numbers in all of them; ZeRO-3's partitioned parameters count whole (`ds_numel`)."""
    return sum(int(getattr(parameter, "ds_numel", parameter.numel())) for parameter in parameters)


def named(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Trainable parameters under canonical names, tied ones once."""
    return {canonical(name): parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def save(file: Path, parameters: dict[str, torch.Tensor], others: dict[str, Any]) -> None:
    """Writes parameters, and what else the module keeps (buffers, FP8 scales), as one torch file.

    {"parameters": {name: fp32 CPU tensor}, "others": {name: value}}
    """
    torch.save({"parameters": parameters, "others": others}, file)


def load(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What `save` wrote, on the CPU."""
    stored = torch.load(file, map_location="cpu", weights_only=True)
    return stored["parameters"], stored["others"]


def check(stored: Iterable[str], expected: Iterable[str], file: Path) -> None:
    """Raises TrainerError unless the file has exactly the model's parameters."""
    there, wanted = set(stored), set(expected)
    if there != wanted:
        odd = sorted(there ^ wanted)
        raise TrainerError(
            f"{file.name} belongs to another model: {len(odd)} names differ, {odd[0]} first",
            "resume with the configuration the run was started with, or start another run folder",
            REFUSED,
        )


def of_one_making(state: Any) -> Any:
    """The same values in containers and strings of one making.

    pickle writes an object it has met before as a reference; after a resume equal strings and tuples are other objects
    than in an uninterrupted run, and the file of the same state would have other bytes and another sha256.
    """
    if isinstance(state, dict):
        return {of_one_making(name): of_one_making(value) for name, value in state.items()}
    if isinstance(state, list):
        return [of_one_making(value) for value in state]
    if isinstance(state, tuple):
        return (*(of_one_making(value) for value in state),)
    return sys.intern(str(state)) if type(state) is str else state
