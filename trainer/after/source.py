"""Opens a trained model from wherever it lies: a run, one checkpoint of it, or our own exported folder."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainer import config
from trainer.after import imported, place
from trainer.after.place import Place
from trainer.checkpoint.piece import WEIGHT
from trainer.checkpoint.tensors import Checkpoint
from trainer.errors import OUTSIDE_FAILED, TrainerError
from trainer.model.families import sizes_of
from trainer.model.gpt import GPT
from trainer.parallel.weights import named

if TYPE_CHECKING:
    from trainer.data.tokenizer import Tokenizer

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Loaded:
    """A model in evaluation mode with what belongs to it.

    tokenizer: None when the folder has none; facts: JSON values: kind, path, step, tokens, sft and, for a run, config.
    """

    model: GPT
    shape: config.Model
    tokenizer: Tokenizer | None
    facts: dict[str, Any]

    def needs_tokenizer(self) -> Tokenizer:
        """The tokenizer. Raises TrainerError when there is none."""
        if self.tokenizer is None:
            raise TrainerError(f"{self.facts['path']} has no tokenizer/", "copy it there from the prepared data folder")
        return self.tokenizer


@dataclass
class Weights:
    """Canonical parameter names to CPU tensors, with the shape they belong to; see Loaded for facts."""

    shape: config.Model
    tensors: dict[str, Tensor]
    facts: dict[str, Any] = field(default_factory=dict)


def open_model(path: str | Path, which: str = "latest", device: str = "auto", dtype: str = "fp32") -> Loaded:
    """The model at `path`, on `device` (auto, cpu, cuda) and in `dtype` (fp32, bf16, fp16), ready to be called.

    which: latest, best or a step number, for a run. Raises TrainerError when there is none, or it is damaged.
    """
    kind = dtype_of(dtype)
    found = place.recognise(path)
    weights = read_weights(found, which)
    model = build(weights.shape)
    try:
        put(model, weights.tensors)
    except (RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise TrainerError(
            f"{found.path} does not fit its own config.json: {reason}", "was config.json edited?"
        ) from None
    model.to(device=device_of(device), dtype=kind)
    model.eval()
    return Loaded(model, weights.shape, tokenizer_of(found), weights.facts)


def dtype_of(name: str) -> torch.dtype:
    """The torch dtype of a name. Raises TrainerError."""
    if name not in DTYPES:
        raise TrainerError(f"dtype {name!r} is not known", f"choose one of {', '.join(DTYPES)}")
    return DTYPES[name]


def device_of(name: str) -> torch.device:
    """auto: cuda where torch sees a GPU. Raises TrainerError when cuda is asked for and is not there."""
    there = torch.cuda.is_available()
    if name.startswith("cuda") and not there:
        raise TrainerError("device is cuda, but torch sees no GPU", "use --device cpu", OUTSIDE_FAILED)
    try:
        return torch.device(("cuda" if there else "cpu") if name == "auto" else name)
    except RuntimeError:
        raise TrainerError(f"device {name!r} is not known", "choose auto, cpu or cuda") from None


def build(shape: config.Model) -> GPT:
    """A model of this shape that computes with plain layers, its weights not yet loaded."""
    from trainer.precision.backend import build as backend_of
    from trainer.precision.policy import look, resolve

    backend = backend_of(resolve(config.Precision(name="fp32"), look("cpu"), shape))
    return GPT(replace(shape, dropout=0.0), backend, "sdpa")


def put(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copies canonical tensors into a model, wrapped or not; every parameter once. Raises RuntimeError or KeyError."""
    own = named(model)
    if own.keys() != tensors.keys():
        odd = sorted(own.keys() ^ tensors.keys())
        raise RuntimeError(f"{len(odd)} names differ, {odd[0]} first")
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.shape != tensors[name].shape:
                raise RuntimeError(f"{name} is {tuple(tensors[name].shape)}, not {tuple(parameter.shape)}")
            parameter.copy_(tensors[name])


def read_weights(found: Place, which: str) -> Weights:
    """Canonical tensors on the CPU, as stored; a checkpoint is verified first. Raises TrainerError."""
    if found.kind == "export":
        shape, tensors, noted = imported.read(found.path)
        return Weights(shape, tensors, {"kind": "export", "path": str(found.path), **noted})
    folder = place.choose(found, which)
    values = run_config(found)
    manifest = place.read_json(folder / "manifest.json")
    facts: dict[str, Any] = {
        "kind": found.kind,
        "path": str(found.path),
        "checkpoint": folder.name,
        "step": manifest.get("step"),
        "tokens": manifest.get("tokens"),
        "sft": sft_facts(found.run),
        "config": values.to_json(),
    }
    return Weights(values.model, canonical(load(folder), values.model), facts)


def canonical(tensors: dict[str, Tensor], shape: config.Model) -> dict[str, Tensor]:
    """Without the head that a tied model repeats."""
    return {name: tensor for name, tensor in tensors.items() if name != "head.weight" or not sizes_of(shape).tied}


def run_config(found: Place) -> config.Config:
    """The configuration a run was started with. Raises TrainerError when config.json is not one of ours."""
    from trainer.config.check import resolve
    from trainer.config.read import apply

    if found.run is None:
        raise TrainerError(f"{found.path} is an export", "give the run")
    values = config.Config()
    apply(values, place.read_json(found.run / place.CONFIG), str(found.run / place.CONFIG))
    resolve(values)
    return values


def sft_facts(run: Path | None) -> dict[str, Any] | None:
    """What `sft` noted in its run folder; None for a pretrained run."""
    return place.read_json(run / "sft.json", missing={}) or None if run else None


def tokenizer_of(found: Place) -> Tokenizer | None:
    """The tokenizer beside the model, or None."""
    from trainer.data import tokenizer

    return tokenizer.load(found.tokenizer) if found.tokenizer.is_dir() else None


def load(folder: Path) -> dict[str, Tensor]:
    """The parameters of a verified checkpoint, mapped from the disk. Raises TrainerError when it lacks any."""
    stored = Checkpoint(folder)
    return {name: stored.whole(WEIGHT, name) for name in stored.names(WEIGHT)}
