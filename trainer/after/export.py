"""Writes a model as a Hugging Face folder that transformers loads with the same logits. Needs safetensors only."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.after import card, chat, hub_config, hub_tokenizer, names, place, source, weight_files, weight_names
from trainer.data.tokenizer import Tokenizer
from trainer.errors import OUTSIDE_FAILED, REFUSED, TrainerError

FORMAT = 1


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    files: list[str]
    bytes: int
    tensors: int
    shape: Any
    facts: dict[str, Any]


def export(
    path: str | Path,
    out: Path,
    which: str = "latest",
    dtype: str = "fp32",
    force: bool = False,
    shard_bytes: int = weight_files.SHARD_BYTES,
    report: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Exports a run, a checkpoint or another export to `out`; the folder appears whole or not at all.

    which: latest, best or a step; shard_bytes: above it the weights go to several files with an index; force: replaces
    an export that is there. Raises TrainerError for what is no run, damaged, in the way, or for a full disk.
    """
    kind = source.dtype_of(dtype)
    refuse(out, force)
    found = place.recognise(path)
    weights = source.read_weights(found, which)
    tokenizer = source.tokenizer_of(found)
    entries = names.to_hub(weights.tensors, weights.shape)
    report(f"{len(entries)} tensors of {found.path}" + (f", {weights.facts['checkpoint']}" if found.run else ""))
    draft = out.parent / f".{out.name}.partial-{os.getpid()}"
    try:
        draft.mkdir(parents=True)
        files = weight_files.write(draft, entries, kind, shard_bytes)
        _beside(draft, weights, tokenizer, dtype, found)
        _note(draft, files, weights, dtype)
        _publish(draft, out)
    except OSError as error:
        reason = error.strerror or str(error)
        raise TrainerError(
            f"cannot write {out}: {reason}", "make room, or give another --out", OUTSIDE_FAILED
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    size = sum((out / name).stat().st_size for name in written)
    return Exported(out, written, size, len(entries), weights.shape, weights.facts)


def refuse(out: Path, force: bool) -> None:
    """Raises TrainerError when something is in the way; force takes away an earlier export and nothing else."""
    if not out.exists() and not out.is_symlink():
        return
    if out.is_dir() and not out.is_symlink() and not any(out.iterdir()):
        return
    if not force:
        raise TrainerError(f"{out} exists", "give another --out, or --force to replace an export", REFUSED)
    if out.is_symlink() or not out.is_dir() or "model_type" not in place.read_json(out / place.CONFIG, missing={}):
        raise TrainerError(f"{out} is no export; --force does not delete it", "give another --out", REFUSED)


def ends(tokenizer: Tokenizer | None, chatty: bool) -> list[int]:
    """The ids after which generation is over."""
    if tokenizer is None:
        return []
    found = [] if tokenizer.eot is None else [tokenizer.eot]
    end = chat.template(tokenizer).end if chatty else []
    return sorted({*found, *(end if len(end) == 1 else [])})


def _beside(folder: Path, weights: source.Weights, tokenizer: Tokenizer | None, dtype: str, found: place.Place) -> None:
    """Everything but the weights."""
    chatty = bool(weights.facts.get("sft"))
    eot = tokenizer.eot if tokenizer is not None else None
    _json(folder / place.CONFIG, hub_config.to_hub(weights.shape, eot, dtype))
    stop = ends(tokenizer, chatty)
    generation: dict[str, Any] = {
        "bos_token_id": eot,
        "eos_token_id": stop[0] if len(stop) == 1 else (stop or None),
        "pad_token_id": eot,
    }
    if tokenizer is not None:
        if tokenizer.vocab < weights.shape.vocab:  # rows that pad the embedding stand for nothing
            generation["suppress_tokens"] = list(range(tokenizer.vocab, weights.shape.vocab))
        hub_tokenizer.write(folder, tokenizer, weights.shape.context, chatty)
        tokenizer.save(folder / place.TOKENIZER)
    _json(folder / "generation_config.json", generation)
    (folder / "README.md").write_text(card.text(weights, tokenizer, dtype, found), encoding="utf-8")


def _note(folder: Path, files: list[str], weights: source.Weights, dtype: str) -> None:
    """stoker.json: whence the weights are, and their hashes."""
    kept = {key: weights.facts.get(key) for key in ("step", "tokens", "checkpoint", "sft", "config")}
    hashes = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": weight_names.sha256(folder / name)} for name in files
    }
    _json(folder / weight_names.NOTE, {"format": FORMAT, "dtype": dtype, "facts": kept, "files": hashes})


def _publish(draft: Path, out: Path) -> None:
    for path in draft.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
    grave = out.parent / f".{out.name}.replaced-{os.getpid()}"
    if out.exists():
        out.rename(grave)
    draft.rename(out)
    shutil.rmtree(grave, ignore_errors=True)


def _json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
