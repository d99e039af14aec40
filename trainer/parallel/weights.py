"""The parameters of a model under the names of checkpoints, whatever wraps it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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


def check(stored: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises TrainerError unless the checkpoint has exactly the model's parameters, in the model's shapes."""
    if stored.keys() != expected.keys():
        odd = sorted(stored.keys() ^ expected.keys())
        raise _of_another_model(f"{len(odd)} names differ, {odd[0]} first")
    for name, shape in expected.items():
        if tuple(stored[name]) != tuple(shape):
            raise _of_another_model(f"{name} has the shape {tuple(stored[name])} there and {tuple(shape)} here")


def _of_another_model(difference: str) -> TrainerError:
    return TrainerError(
        f"the checkpoint belongs to another model: {difference}",
        "resume with the configuration the run was started with, or start another run folder",
        REFUSED,
    )


def shape_of(parameter: torch.nn.Parameter) -> tuple[int, ...]:
    """The whole parameter's; ZeRO-3 leaves an empty one in its place, and the true shape in `ds_shape`."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))
