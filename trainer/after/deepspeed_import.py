"""From a DeepSpeed folder to the first checkpoint of a run, from which `train` goes on."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.after import deepspeed_folder as folders
from trainer.checkpoint import folder, part, publish, space
from trainer.checkpoint.piece import Piece
from trainer.checkpoint.publish import Published, Rules
from trainer.config import Config
from trainer.errors import OUTSIDE_FAILED, REFUSED, TrainerError
from trainer.optim.curriculum import Plan
from trainer.parallel.world import join
from trainer.precision import policy
from trainer.precision.machine import look
from trainer.run import chance
from trainer.run import folder as runs
from trainer.run.corpus import Corpus
from trainer.run.job import identity, trained_by
from trainer.run.lineage import lineage
from trainer.run.state import Progress

KEPT = 1.02  # of the tensors' own bytes: headers, manifest
SPARE = 64 << 20  # bytes left to logs and whatever else writes on that disk


@dataclass(frozen=True)
class Place:
    """Where in its run the checkpoint is; None: as the checkpoint itself says. Optimizer steps; windows read."""

    step: int | None = None
    samples: int | None = None


def bring(origin: Path, tag: str | None, config: Config, run: Path, place: Place) -> dict[str, Any]:
    """Makes DeepSpeed's checkpoint the first of the run folder `run`; gives back what was taken over, for people.

    Raises TrainerError: what cannot be read, another model, and (REFUSED) a run that has checkpoints. Then `run` has
    no checkpoint, as before.
    """
    if config.optim.name != "adamw":
        raise TrainerError(
            f"optim.name is {config.optim.name}, the checkpoint has Adam's state", "set optim.name=adamw"
        )
    found = folders.open_folder(origin, tag)
    with runs.owned(run):
        root = run / runs.CHECKPOINTS
        there = folder.found(root)
        if there:
            hint = "give another --run; nothing is overwritten"
            raise TrainerError(f"{run} has checkpoints already, {there[0].name} the newest", hint, REFUSED)
        folder.sweep(root)
        progress = _progress(found, config, place)
        wanted = folders.expected(config.model)
        facts = _Facts(found, config, run, progress, sum(math.prod(shape) for shape in wanted.values()))
        published = _publish(found, wanted, root, facts)
    return {
        "run": str(run),
        "checkpoint": published.folder.name,
        "from": str(found.files.folder),
        **{key: facts.imported[key] for key in ("deepspeed", "tag", "stage", "ranks", "precision")},
        **{key: getattr(progress, key) for key in ("step", "samples", "tokens")},
        "resumes_in": facts.precision.name,
        "parameters": facts.parameters,
        "bytes": published.bytes,
        "sha256": published.sha256,
    }


class _Facts:
    """What the manifest says beside its files, and the run folder's own files."""

    def __init__(self, found: folders.Folder, config: Config, run: Path, progress: Progress, parameters: int) -> None:
        """Resolves the precision and opens the data, as training does: both are in the manifest."""
        self.found, self.config, self.run, self.progress, self.parameters = found, config, run, progress, parameters
        self.world = join(config)
        machine, compiled = look(self.world.device.type), config.train.compile
        self.precision = policy.resolve(config.precision, machine, config.model, trained_by(config), compiled)
        self.imported = {
            "from": found.files.folder.resolve().parent.name,
            "deepspeed": found.version,
            "tag": found.files.tag,
            "stage": found.stage,
            "ranks": found.ranks,
            "precision": found.precision,
        }
        work = Corpus(config, run / "shards")
        try:
            self.data = work.tokens.sha256
            work.keep(run)
        finally:
            work.close()
        for name, content in ((runs.CONFIG, config.to_json()), (runs.PRECISION, self.precision.to_json())):
            folder.replace(run / name, (json.dumps(content, indent=1) + "\n").encode())

    def to_json(self) -> dict[str, Any]:
        """As trainer.run.save.facts, once all pieces are read."""
        progress = self.progress
        kind = {"kind": "deepspeed", "zero": self.found.stage, "world": self.found.ranks}
        return {
            "samples": progress.samples,
            "tokens": progress.tokens,
            "best": {"loss": None, "step": 0},
            "progress": asdict(progress),
            "engine": {**kind, "step": progress.step, "scaler": self.found.scaler},
            "random": 0,  # no rank's generators: training seeds them anew, from the seed and the step
            "stage": Plan(self.config).at(progress.step)[0],
            "identity": identity(self.config, self.data),
            "precision": self.precision.to_json(),
            "parameters": self.parameters,
            "config": self.config.to_json(),
            "metrics": {},
            "lineage": {**lineage(self.data, self.world, None), "imported": self.imported},
        }


def _progress(found: folders.Folder, config: Config, place: Place) -> Progress:
    steps = (place.step, found.count("step"), found.count("global_steps"))
    step = next((number for number in steps if number is not None), None)
    if step is None:
        raise TrainerError(f"{found.files.folder} does not say its step", "give --step N and --samples N")
    samples = next((number for number in (place.samples, found.count("samples")) if number is not None), None)
    samples = step * config.train.batch if samples is None else samples
    return Progress(step=step, samples=samples, tokens=samples * config.model.context)


def _publish(found: folders.Folder, wanted: Mapping[str, tuple[int, ...]], root: Path, facts: _Facts) -> Published:
    root.mkdir(parents=True, exist_ok=True)
    short = space.check(root, int(KEPT * 3 * 4 * facts.parameters) + (1 << 20), SPARE)
    if short is not None:
        raise TrainerError(short, "make room, or give --run on another disk", OUTSIDE_FAILED)
    step = facts.progress.step
    staging = root / f".staging-{folder.name_of(step)}-1"
    try:
        written = _write(staging, found.pieces(dict(wanted)))
        published = publish.publish(staging, step, written, facts.to_json(), (folder.LATEST,))
    except OSError as error:
        what = f"cannot write the checkpoint in {root}: {error.strerror}"
        raise TrainerError(what, "make room or mend the disk, then import again", OUTSIDE_FAILED) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    publish.tidy(published, Rules(1))
    if published.fault is not None:
        folder.discard(published.folder)
        what = f"{published.folder.name} does not read back as it was written: {published.fault}"
        raise TrainerError(what, "mend the disk or give --run on another one, then import again", OUTSIDE_FAILED)
    return published


def _write(staging: Path, parts: Iterator[list[Piece]]) -> dict[str, Any]:
    """The files of one rank of DeepSpeed's after the other, so that host memory holds no more than one's."""
    files: dict[str, Any] = {}
    shapes: dict[str, Any] = {}
    for rank, pieces in enumerate(parts):
        done = part.write(staging, rank, pieces, b"{}")
        unused = chance.file_of(rank)
        (staging / unused).unlink()
        files.update({name: entry for name, entry in done["files"].items() if name != unused})
        shapes.update(done["tensors"])
    return {"files": files, "tensors": shapes}
