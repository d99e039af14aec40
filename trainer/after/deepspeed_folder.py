"""A folder that DeepSpeed's `engine.save_checkpoint` wrote, as canonical pieces. DeepSpeed itself is not needed.

ZeRO stages 0 to 3, any number of data parallel ranks, fp32, bf16 and fp16, Adam in any of its forms; and universal
checkpoints. Read from the files of DeepSpeed 0.19; those since 0.8 have the same names.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from trainer import config
from trainer.after import deepspeed_pickle as pickles
from trainer.after import deepspeed_plain as plain
from trainer.after import deepspeed_universal as universal
from trainer.after import deepspeed_zero as zero
from trainer.after import source
from trainer.after.deepspeed_files import Files, complete, find
from trainer.after.deepspeed_slices import STEP, Part, Shapes, Slice, damaged, shapes
from trainer.checkpoint.piece import WEIGHT, Piece
from trainer.errors import TrainerError
from trainer.parallel import scaling, weights


@dataclass
class Folder:
    """One opened checkpoint.

    model: the content of rank 0's model_states file; scaler: of the loss, as manifests keep it, known once `pieces` has
    ended.
    """

    files: Files
    model: Mapping[str, Any] = field(repr=False)
    scaler: dict[str, Any] | None = None

    @property
    def version(self) -> str | None:
        """DeepSpeed's release."""
        told = self.model.get("ds_version")
        return told if isinstance(told, str) else None

    @property
    def ranks(self) -> int:
        """Data parallel ranks that wrote it."""
        return len(self.files.optimizers) or self.count("dp_world_size") or 1

    @property
    def stage(self) -> int:
        """ZeRO's stage: as its settings say, else by the form of its files."""
        asked = self._settings("zero_optimization").get("stage")
        if isinstance(asked, int):
            return int(asked)
        return 3 if self.files.models[0].name.startswith("zero_") else 2 if self.files.optimizers else 0

    @property
    def precision(self) -> str:
        """What it was trained in: fp32, bf16 or fp16."""
        return next((name for name in ("bf16", "fp16") if self._settings(name).get("enabled") is True), "fp32")

    def count(self, name: str) -> int | None:
        """A whole number from 0 up of the model_states file: global_steps, or what the script put beside it."""
        told = self.model.get(name)
        if isinstance(told, Tensor) and told.numel() == 1:
            told = told.item()
        return told if isinstance(told, int) and not isinstance(told, bool) and told >= 0 else None

    def pieces(self, expected: Shapes) -> Iterator[list[Piece]]:
        """Rank by rank the fp32 masters, the moments and the steps, under canonical names; together all of `expected`.

        Raises TrainerError for another model's parameters before the first, for files that do not fit when it comes to
        them.
        """
        known = named(self._names(expected), expected)
        found: dict[tuple[str, str], int] = {}
        for part in self._parts(list(known)):
            if part.rank == 0:
                self.scaler = _scaler(part.scaler)
            pieces = [piece for one in part.slices for piece in _pieces(one, known[one.name], expected)]
            for piece in pieces:
                key = (piece.kind, piece.name)
                found[key] = found.get(key, 0) + piece.tensor.numel()
            yield pieces
        _covered(found, expected)

    def _parts(self, names: list[str]) -> Iterator[Part]:
        try:
            yield from self._read(names)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            reason = f"its files are not as DeepSpeed writes them ({type(error).__name__}: {error})"
            raise damaged(reason.replace("\n", " ")[:300]) from None

    def _read(self, names: list[str]) -> Iterator[Part]:
        if self.files.universal is not None:
            yield Part(0, list(universal.read(self.files.universal)))
        elif self.files.optimizers:
            yield from zero.read(self.files, self.model)
        else:
            kept = plain.scaler(self.model)
            yield Part(0, list(plain.read(self.model, names)), SimpleNamespace(**kept) if kept else None)

    def _names(self, expected: Shapes) -> dict[str, tuple[int, ...] | None]:
        """The parameters as DeepSpeed saw them; shape None: not known before it is read."""
        if self.files.universal is not None:
            return dict.fromkeys(universal.names(self.files.universal))
        if self.files.optimizers:
            return {name: shape for group in shapes(self.model) for name, shape in group.items()}
        buffers = self.model.get("buffer_names") or []
        module = {str(name): value for name, value in self.model["module"].items() if isinstance(value, Tensor)}
        places = {value.data_ptr() for name, value in module.items() if weights.canonical(name) in expected}
        # a tied head stands there under both its names
        return {
            name: tuple(value.shape)
            for name, value in module.items()
            if name not in buffers and (weights.canonical(name) in expected or value.data_ptr() not in places)
        }

    def _settings(self, name: str) -> Mapping[str, Any]:
        told = self.model.get("ds_config")
        found = told.get(name) if isinstance(told, dict) else None
        return found if isinstance(found, dict) else {}


def open_folder(folder: Path, tag: str | None = None) -> Folder:
    """The checkpoint of `tag`, or the one that `latest` names; `folder` may be the tag's own.

    Raises TrainerError for what is missing, damaged, or not data parallel alone.
    """
    files = find(folder, tag)
    model = pickles.load(files.models[0])
    if not isinstance(model, dict) or not isinstance(model.get("module"), dict):
        raise damaged(f"{files.models[0].name} holds no model; a pipeline wrote it?")
    parallel = model.get("checkpoint_parallel_dimensions") or {}
    cut = max(int(size) for size in (model.get("mp_world_size") or 1, *parallel.values()) if isinstance(size, int))
    if cut > 1 and files.universal is None:
        raise TrainerError(
            f"{files.folder} is of a model cut over {cut} ranks; only data parallel ones are understood",
            "make a universal checkpoint of it with DeepSpeed's ds_to_universal, and give that",
        )
    frozen = next(iter(model.get("frozen_param_shapes") or {}), None)
    if frozen is not None and files.universal is None:
        raise TrainerError(
            f"{files.folder} has parameters that were not trained, {frozen} first; this trainer trains all",
            "save it with requires_grad on for all parameters",
        )
    found = Folder(files, model)
    if files.universal is None and (files.optimizers or model.get("param_shapes") is not None):
        complete(files, found.count("dp_world_size") or len(files.models))
    return found


def expected(shape: config.Model) -> Shapes:
    """Canonical names and shapes of the parameters of a model, tied ones once."""
    with torch.device("meta"):
        model = source.build(shape)
    return {name: tuple(parameter.shape) for name, parameter in weights.named(model).items()}


def named(there: Mapping[str, tuple[int, ...] | None], wanted: Shapes) -> dict[str, str]:
    """DeepSpeed's names to canonical ones. Raises TrainerError for unknown and missing names and other shapes."""
    known: dict[str, str] = {}
    hint = "give the model's own settings: --config, --preset or --set model.KEY=VALUE"
    for name in there:
        known[name] = weights.canonical(name)
    odd = [canonical for canonical in known.values() if canonical not in wanted]
    if odd:
        near = difflib.get_close_matches(odd[0], wanted, n=1, cutoff=0.0)
        more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
        raise TrainerError(f"unknown parameter {odd[0]}{more}; nearest of this model is {near[0]}", hint)
    missing = [name for name in wanted if name not in known.values()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise TrainerError(f"the DeepSpeed checkpoint has no parameter {missing[0]}{more}", hint)
    if len(set(known.values())) < len(known):
        raise TrainerError("two parameters of the DeepSpeed checkpoint have one name here", hint)
    for name, shape in there.items():
        if shape is not None and shape != wanted[known[name]]:
            what = f"{known[name]} has the shape {shape} there and {wanted[known[name]]} in this model"
            raise TrainerError(what, hint)
    return known


def _pieces(one: Slice, name: str, expected: Shapes) -> Iterator[Piece]:
    for kind, tensor in one.tensors.items():
        # the same numbers: every type that DeepSpeed keeps them in is narrower
        value = tensor.detach().to(torch.float32).contiguous()
        yield Piece(kind, name, expected[name], one.begin, value)
    if one.begin == 0 and one.step is not None:
        yield Piece(STEP, name, (), 0, torch.tensor([one.step], dtype=torch.float32))


def _covered(found: Mapping[tuple[str, str], int], wanted: Shapes) -> None:
    """Raises TrainerError unless every parameter has all its numbers, and of each moment all or none."""
    for name, shape in wanted.items():
        size = math.prod(shape)
        if found.get((WEIGHT, name), 0) != size:
            raise damaged(f"of {name} it holds {found.get((WEIGHT, name), 0)} numbers, not {size}")
    for (kind, name), count in found.items():
        size = 1 if kind == STEP else math.prod(wanted[name])
        if count != size:
            raise damaged(f"of {kind} of {name} it holds {count} numbers, not {size}")
    with_moments = {name for kind, name in found if kind != WEIGHT}
    half = next((name for name in with_moments if (STEP, name) not in found), None)
    if half is not None:
        raise damaged(f"the optimizer's step of {half} is missing")


def _scaler(kept: Any) -> dict[str, Any] | None:
    """Of a dynamic loss scaler; None for a static one, as outside fp16."""
    needed = ("cur_scale", "cur_iter", "last_overflow_iter", "scale_window")
    if not all(isinstance(getattr(kept, name, None), (int, float)) for name in needed):
        return None
    return scaling.of_deepspeed(kept)
