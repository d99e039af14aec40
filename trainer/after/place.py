"""What kind of folder a path is: a run, one checkpoint of a run, or an exported Hugging Face folder. No torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.checkpoint import folder as folders
from trainer.checkpoint.manifest import MANIFEST
from trainer.checkpoint.thin import needed_for_inference
from trainer.checkpoint.verify import fault
from trainer.errors import OUTSIDE_FAILED, TrainerError

CONFIG = "config.json"
TOKENIZER = "tokenizer"
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Place:
    """kind: "run", "checkpoint" or "export"; run: the run folder, None for an export."""

    kind: str
    path: Path
    run: Path | None

    @property
    def tokenizer(self) -> Path:
        """Where the tokenizer's own files lie, if it has any."""
        return (self.run or self.path) / TOKENIZER


def recognise(path: str | Path) -> Place:
    """Looks at the folder. Raises TrainerError when it is neither a run nor a checkpoint nor an export."""
    folder = Path(path)
    if not folder.exists():
        raise TrainerError(f"no run, checkpoint or export at {folder}: no such folder", "give the folder of --run")
    if not folder.is_dir():
        raise TrainerError(f"{folder} is a file", "give the folder: a run, RUN/checkpoints/step-..., or an export")
    if folder.name.startswith("step-") or (folder / MANIFEST).exists():
        run = folder.resolve().parent.parent
        return Place("checkpoint", folder, run)
    if (folder / CHECKPOINTS).is_dir():
        return Place("run", folder, folder)
    if "model_type" in read_json(folder / CONFIG, missing={}):
        return Place("export", folder, None)
    if (folder / CONFIG).exists():
        return Place("run", folder, folder)
    hint = "a run has config.json and checkpoints/; an export has config.json and model.safetensors"
    raise TrainerError(f"no run, checkpoint or export at {folder}", hint)


def read_json(path: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON object in a file; `missing` where there is no file. Raises TrainerError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if missing is not None:
            return missing
        raise TrainerError(f"{path} is missing", "give a whole folder") from None
    except OSError as error:
        raise TrainerError(f"cannot read {path}: {error.strerror}", "see the rights of the file") from None
    except ValueError as error:
        raise TrainerError(f"{path} is not JSON: {error}", "restore the file from a copy") from None
    if not isinstance(content, dict):
        raise TrainerError(f"{path} holds no JSON object", "restore the file from a copy")
    return content


def choose(place: Place, which: str) -> Path:
    """The checkpoint folder that is meant, every byte verified.

    which: "latest", "best" or a step number; a checkpoint folder is its own answer. Raises TrainerError when it is not
    there or is damaged; the message names the file and a good one to use instead.
    """
    if place.run is None:
        raise TrainerError(f"{place.path} is an export and has no checkpoints", "leave --checkpoint out")
    folder = place.path if place.kind == "checkpoint" else _named(place.run / CHECKPOINTS, which)
    reason = fault(folder, only=needed_for_inference)
    if reason is not None:
        raise TrainerError(f"checkpoint {folder} is damaged: {reason}", _instead(folder), OUTSIDE_FAILED)
    return folder


def _named(root: Path, which: str) -> Path:
    there = [path.name for path in folders.found(root)]
    if not there:
        raise TrainerError(f"no checkpoint in {root}", "train first, or give another run")
    if which in folders.POINTERS:
        folder = folders.pointed(root, which)
        if folder is None and which == folders.LATEST:
            return root / there[0]  # a run copied without its pointers
        if folder is None:
            raise TrainerError(f"{root} has no best checkpoint", "evaluate.every > 0 makes one; or use latest")
        return folder
    number = which.removeprefix("step-")
    if not number.isdigit():
        raise TrainerError(f"checkpoint {which!r} is not known", "give latest, best or a step number")
    folder = root / folders.name_of(int(number))
    if folder.name not in there:
        raise TrainerError(f"{root} has no step {int(number)}", f"there are {', '.join(reversed(there))}")
    return folder


def _instead(damaged: Path) -> str:
    others = [path for path in folders.found(damaged.parent) if path.name != damaged.name]
    good = next((path for path in others if fault(path, only=needed_for_inference) is None), None)
    if good is None:
        return "no other checkpoint of this run is good; restore it from a copy"
    return f"use {good.name}, which is good: --checkpoint {int(good.name.removeprefix('step-'))}"
