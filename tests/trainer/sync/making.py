"""Run folders with real checkpoints of a few bytes each: the format of trainer/checkpoint, without torch."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from trainer.checkpoint import folder, manifest

IDENTITY = {"model": {"layers": 1}, "train": {"seed": 1}}


def contents(step: int, size: int = 600, salt: str = "", parts: int = 2) -> dict[str, bytes]:
    """File names and bytes; the same for the same arguments, of the same sizes for every salt."""
    generator = random.Random(f"{step} {salt}")
    files = {}
    for rank in range(parts):
        files[f"weights-{rank:05d}-00.safetensors"] = generator.randbytes(size)
        files[f"optimizer-{rank:05d}-00.safetensors"] = generator.randbytes(2 * size)
        files[f"random-{rank:05d}.json"] = generator.randbytes(16).hex().encode()
    return files


def save(run: Path, step: int, best: int | None = None, identity=IDENTITY, parent: str | None = None, **made) -> Path:
    """One checkpoint, published as a trainer does; replaces one of that step."""
    root = run / "checkpoints"
    staging = root / f".staging-{folder.name_of(step)}"
    staging.mkdir(parents=True)
    files = contents(step, **made)
    for name, data in files.items():
        (staging / name).write_bytes(data)
    content = {
        "format": manifest.FORMAT,
        "step": step,
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
        "tensors": {"a": [1], "exp_avg/a": [1]},
        "identity": identity,
        "best": None if best is None else {"loss": 1.0, "step": best},
        "lineage": {"parent": None if parent is None else {"checkpoint": "", "sha256": parent}},
    }
    (staging / manifest.MANIFEST).write_bytes(manifest.sealed(content))
    target = root / folder.name_of(step)
    if target.exists():
        folder.discard(target)
    staging.rename(target)
    folder.point(root, folder.LATEST, target.name)
    if best is not None and (root / folder.name_of(best)).is_dir():
        folder.point(root, folder.BEST, folder.name_of(best))
    return target


def start(run: Path, *steps: int, **made) -> Path:
    """A run folder with its settings, logs and these checkpoints."""
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.json").write_text('{"model": {}}\n')
    (run / "precision.json").write_text("{}\n")
    (run / "tokenizer").mkdir(exist_ok=True)
    (run / "tokenizer" / "tokenizer.json").write_text("{}\n")
    (run / "training_metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"st')
    (run / "training.log").write_text("one\ntwo\n")
    (run / "trainer.lock").write_text("1\n")
    for step in steps:
        save(run, step, **made)
    return run


def damage(checkpoint: Path, name: str = "weights-00000-00.safetensors") -> None:
    """Flips one bit of a file."""
    path = checkpoint / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def shown(remote: Path) -> dict[str, str | None]:
    """What a reader of a file:// store would take, by name, and what is wrong with it: looked up from the disk by
    rules written down here once more, and without the code under test."""
    found = {}
    for place in sorted(remote.glob("checkpoints/step-*")):
        try:
            content = manifest.parse((place / "manifest.json").read_bytes())
        except (OSError, manifest.Damaged):
            continue
        files = content["files"]
        sizes = {path.name: path.stat().st_size for path in place.iterdir()}
        if any(sizes.get(name) != entry["bytes"] for name, entry in files.items()):
            continue
        hashes = {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in files}
        wrong = [name for name, entry in files.items() if hashes[name] != entry["sha256"]]
        found[place.name] = f"{wrong} of other content" if wrong else None
    return found


def names(*steps: int) -> list[str]:
    """Of checkpoints."""
    return [folder.name_of(step) for step in steps]
