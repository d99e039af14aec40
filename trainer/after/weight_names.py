"""Which files hold the weights of an export, and their hashes. No torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from trainer.after.place import read_json
from trainer.errors import OUTSIDE_FAILED, TrainerError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
NOTE = "stoker.json"  # what the export is of, and the sizes and hashes of its weight files


def present(folder: Path) -> list[str]:
    """The weight files of an export. Raises TrainerError when there are none."""
    if (folder / INDEX).exists():
        places = read_json(folder / INDEX).get("weight_map")
        if not isinstance(places, dict):
            raise TrainerError(f"{folder / INDEX} has no weight_map", "export again")
        return sorted({str(name) for name in places.values()})
    if (folder / SINGLE).exists():
        return [SINGLE]
    raise TrainerError(f"{folder} has no {SINGLE}", "export again", OUTSIDE_FAILED)


def sha256(path: Path) -> str:
    """As hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
