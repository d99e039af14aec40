"""What lies in a run, a checkpoint or an export, and whether it is whole. No torch, but for the norms of tensors."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from trainer import config
from trainer.after import history, hub_config, place, weight_names
from trainer.after.place import Place
from trainer.checkpoint import folder as folders
from trainer.checkpoint import manifest, verify
from trainer.checkpoint.folder import found as checkpoints_in
from trainer.config.check import resolve
from trainer.config.read import apply
from trainer.errors import TrainerError
from trainer.model.count import count

FACTS = ("step", "tokens", "samples", "stage", "engine", "best", "lineage", "parameters")
SHAPE = ("family", "layers", "heads", "kv_heads", "width", "ffn", "context", "vocab", "tied")


def inspect(path: str | Path, which: str = "latest", tensors: bool = False, hashes: bool = True) -> dict[str, Any]:
    """All that is known of the folder as JSON values; "damage" is None or says what is wrong.

    tensors: with name, shape, dtype and norm of each tensor (reads everything, needs torch); hashes: verify contents
    and not only sizes. Raises TrainerError when there is no run, checkpoint or export.
    """
    found = place.recognise(path)
    if found.kind == "export":
        report = _export(found, hashes)
    elif found.kind == "checkpoint":
        report = _checkpoint(found.path, found, hashes)
    else:
        report = _run(found, which, hashes)
    report = {"kind": found.kind, "path": str(found.path), **report}
    report["tokenizer"] = _tokenizer(found)
    if tensors:
        report["tensors"] = norms(found, which)
    return report


def files_of(folder: Path, listed: dict[str, Any], hashes: bool) -> list[dict[str, Any]]:
    """Every file that should be there and every other that is. state: whole, size only (not hashed), other (nothing is
    known of it); all else is damage."""
    rows = [_file(folder, name, entry, hashes) for name, entry in sorted(listed.items())]
    known = {*listed, manifest.MANIFEST}
    others = sorted(p for p in folder.rglob("*") if p.is_file() and p.relative_to(folder).as_posix() not in known)
    return rows + [
        {"file": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "state": "other"} for path in others
    ]


def norms(found: Place, which: str) -> list[dict[str, Any]]:
    """Name, shape, dtype and L2 norm of each tensor, under canonical names; verified first."""
    from trainer.after.source import read_weights

    weights = read_weights(found, which)
    return [
        {
            "name": name,
            "shape": list(tensor.shape),
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "norm": float(tensor.double().norm()),
        }
        for name, tensor in weights.tensors.items()
    ]


def parts(shape: config.Model) -> dict[str, int]:
    """Parameters by part; the total is that of the model, tied weights once."""
    return dict(vars(count(shape)))


def _run(found: Place, which: str, hashes: bool) -> dict[str, Any]:
    root = found.path / place.CHECKPOINTS
    pointers = {name: folders.pointed(root, name) for name in folders.POINTERS}
    rows = []
    for folder in reversed(checkpoints_in(root)):
        names = [name for name, target in pointers.items() if target is not None and target.name == folder.name]
        damage = _damage(folder, hashes)
        rows.append({"checkpoint": folder.name, "bytes": _size(folder), "pointers": names, "damage": damage})
    report: dict[str, Any] = {**_configured(found), "checkpoints": rows, "losses": _losses(found.path)}
    damaged = [f"{row['checkpoint']}: {row['damage']}" for row in rows if row["damage"]]
    report["damage"] = "; ".join(damaged) or None
    chosen = _chosen(root, pointers, which)
    if chosen is not None:
        report["checkpoint"] = chosen.name
        report.update(_told(chosen))
    return report


def _checkpoint(folder: Path, found: Place, hashes: bool) -> dict[str, Any]:
    report = {**_configured(found), "checkpoint": folder.name, **_told(folder)}
    report["files"] = files_of(folder, _manifest(folder).get("files") or {}, hashes)
    report["damage"] = _damage(folder, hashes)
    report["losses"] = _losses(found.run) if found.run else {}
    return report


def _export(found: Place, hashes: bool) -> dict[str, Any]:
    values = place.read_json(found.path / place.CONFIG)
    shape = hub_config.from_hub(values, found.path / place.CONFIG)
    note = place.read_json(found.path / weight_names.NOTE, missing={})
    listed = note.get("files") or {name: {} for name in weight_names.present(found.path)}
    rows = files_of(found.path, listed, hashes)
    facts = note.get("facts") or {}
    return {
        "step": facts.get("step"),
        "tokens": facts.get("tokens"),
        "sft": facts.get("sft"),
        "model": _shape(shape),
        "parameters": parts(shape),
        "dtype": values.get("dtype") or values.get("torch_dtype"),
        "stored": sum(len(header(found.path / name)) for name in listed if (found.path / name).is_file()),
        "files": rows,
        "damage": _first(rows),
    }


def header(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file by name, from its header: 8 bytes of length, then JSON; {} if unreadable."""
    try:
        with path.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            told = json.loads(stream.read(min(size, 100_000_000)))
    except (OSError, ValueError, struct.error):
        return {}
    return {name: entry for name, entry in told.items() if name != "__metadata__"} if isinstance(told, dict) else {}


def _configured(found: Place) -> dict[str, Any]:
    """From RUN/config.json; a run that lost it is still worth a look."""
    assert found.run is not None
    try:
        values = place.read_json(found.run / place.CONFIG)
        whole = config.Config()
        apply(whole, values, str(found.run / place.CONFIG))
        resolve(whole)
        shape: dict[str, Any] = {"model": _shape(whole.model), "parameters": parts(whole.model)}
    except TrainerError as error:
        shape = {"config_damage": error.what}
    precision = place.read_json(found.run / "precision.json", missing={})
    sft = place.read_json(found.run / "sft.json", missing={})
    return {
        **shape,
        "precision": {key: precision[key] for key in ("name", "backend", "reason") if key in precision} or None,
        "sft": sft or None,
    }


def _shape(shape: config.Model) -> dict[str, Any]:
    return {name: getattr(hub_config.plain(shape), name) for name in SHAPE}


def _told(folder: Path) -> dict[str, Any]:
    told = _manifest(folder)
    found = {name: told[name] for name in FACTS if name in told and name != "parameters"}
    precision = told.get("precision")
    if isinstance(precision, dict):
        found["precision"] = {key: precision[key] for key in ("name", "backend", "reason") if key in precision}
    return {**found, "dtype": "float32"}


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        return manifest.read(folder)
    except manifest.Damaged:
        return {}


def _damage(folder: Path, hashes: bool) -> str | None:
    return verify.fault(folder, hashes=hashes)


def _first(rows: list[dict[str, Any]]) -> str | None:
    good = ("whole", "size only", "other")
    return next((f"{row['file']}: {row['state']}" for row in rows if row["state"] not in good), None)


def _file(folder: Path, name: str, entry: Any, hashes: bool) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        return {"file": name, "bytes": None, "state": "missing"}
    size = path.stat().st_size
    told = entry if isinstance(entry, dict) else {}
    if not told:
        return {"file": name, "bytes": size, "state": "size only"}
    if size != told.get("bytes"):
        return {"file": name, "bytes": size, "state": f"size is not {told.get('bytes')}"}
    if not hashes:
        return {"file": name, "bytes": size, "state": "size only"}
    state = "whole" if weight_names.sha256(path) == told.get("sha256") else "another sha256"
    return {"file": name, "bytes": size, "state": state}


def _chosen(root: Path, pointers: dict[str, Path | None], which: str) -> Path | None:
    if which in pointers:
        return pointers[which] or next(iter(checkpoints_in(root)), None)
    folder = root / folders.name_of(int(which)) if which.isdigit() else None
    return folder if folder is not None and folder.is_dir() else None


def _losses(run: Path) -> dict[str, Any]:
    step, evaluation = history.last(run, "step") or {}, history.last(run, "eval") or {}
    return {
        "train": {key: step.get(key) for key in ("step", "loss")} if step else None,
        "validation": {key: evaluation.get(key) for key in ("step", "val_loss", "bits_per_byte")}
        if evaluation
        else None,
    }


def _tokenizer(found: Place) -> dict[str, Any] | None:
    told = place.read_json(found.tokenizer / "tokenizer_kind.json", missing={})
    return {key: told.get(key) for key in ("kind", "name", "vocab", "eot")} if told else None


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
