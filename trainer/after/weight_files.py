"""The safetensors files of an export: planned by size, written one by one, read back with their hashes verified."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer.after.names import Entry
from trainer.after.place import read_json
from trainer.after.weight_names import INDEX, NOTE, SINGLE, present, sha256
from trainer.errors import OUTSIDE_FAILED, TrainerError

SHARD_BYTES = 5_000_000_000


def plan(entries: Iterable[Entry], item_bytes: int, limit: int) -> list[list[Entry]]:
    """Entries in order, cut so that no file is above `limit` bytes unless a single tensor is."""
    files: list[list[Entry]] = []
    room = 0
    for entry in entries:
        size = math.prod(entry.shape) * item_bytes
        if not files or size > room:
            files.append([])
            room = limit
        files[-1].append(entry)
        room -= size
    return files


def write(folder: Path, entries: list[Entry], dtype: torch.dtype, limit: int) -> list[str]:
    """Writes model.safetensors, or numbered files and their index; the names of the weight files."""
    save_file = _safetensors().torch.save_file
    files = plan(entries, dtype.itemsize, limit)
    names = (
        [SINGLE]
        if len(files) == 1
        else [f"model-{n + 1:05d}-of-{len(files):05d}.safetensors" for n in range(len(files))]
    )
    for name, content in zip(names, files, strict=True):
        # a view keeps its whole storage: clone what is no tensor of its own, safetensors writes storages
        tensors = {entry.name: entry.make().to(dtype).contiguous().clone() for entry in content}
        (folder / name).touch()
        rights = (folder / name).stat().st_mode  # safetensors 0.8 leaves its files readable to their owner alone
        save_file(tensors, str(folder / name), metadata={"format": "pt"})
        (folder / name).chmod(rights)
    if len(files) > 1:
        total = sum(math.prod(entry.shape) for entry in entries) * dtype.itemsize
        places = {entry.name: name for name, content in zip(names, files, strict=True) for entry in content}
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return names


def read(folder: Path) -> dict[str, Tensor]:
    """All tensors, mapped from the files. Raises TrainerError naming a file that is missing or damaged."""
    library = _safetensors()
    found: dict[str, Tensor] = {}
    for name in present(folder):
        reason = fault(folder, name)
        if reason is not None:
            raise TrainerError(f"export {folder} is damaged: {reason}", "export again", OUTSIDE_FAILED)
        try:
            found.update(library.torch.load_file(str(folder / name)))
        except Exception as error:  # safetensors' own, by version
            raise TrainerError(f"export {folder} is damaged: {name}: {error}", "export again", OUTSIDE_FAILED) from None
    return found


def fault(folder: Path, name: str) -> str | None:
    """Why a weight file cannot be used, or None; without stoker.json only its presence is known."""
    path = folder / name
    if not path.is_file():
        return f"{name} is missing"
    noted: dict[str, Any] = read_json(folder / NOTE, missing={}).get("files", {}).get(name, {})
    size = path.stat().st_size
    if noted and size != noted["bytes"]:
        return f"{name} has {size} bytes, not {noted['bytes']}"
    if noted and sha256(path) != noted["sha256"]:
        return f"{name} has another sha256"
    return None


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.torch
    except ModuleNotFoundError:
        raise TrainerError("safetensors is not installed here", "pip install safetensors", OUTSIDE_FAILED) from None
    return safetensors
