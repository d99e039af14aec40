"""Saving with all ranks: what the loop calls. The writing itself goes on beside the training (checkpoint/saver.py)."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.checkpoint import folder, manifest, publish, space, verify
from trainer.checkpoint.publish import Rules
from trainer.checkpoint.saver import Wish
from trainer.errors import OUTSIDE_FAILED, TrainerError
from trainer.run.job import Job, identity
from trainer.run.lineage import lineage

RESERVE = 64 << 20  # bytes left to logs and whatever else writes on that disk
ROOMY = 1.02  # headers, manifest, generators


def save(job: Job, best: bool = False) -> bool:
    """Begins the checkpoint of this step; whether there is or will be one. Collective.

    best: it is also the one with the lowest validation loss. A save in flight is waited for first. Where there is no
    room on the disk nothing is begun: that is told, and training goes on.
    """
    began = time.monotonic()
    wait(job)
    pieces = job.state.pieces()
    pointers = (folder.BEST, folder.LATEST) if best else (folder.LATEST,)
    job.attempts += 1
    staging = _staging(job, pieces, pointers) if job.world.first else None
    job.world.barrier()  # it may have hashed all of a checkpoint
    staging = job.world.broadcast(staging)
    if not isinstance(staging, Path):
        return bool(staging)
    progress = job.state.progress
    wish = Wish(progress.step, staging, pieces, job.state.random())
    if job.world.first:
        progress.dollars = job.dollars
        wish = replace(wish, facts=facts(job), pointers=pointers, rules=rules(job), before=job.journal.sync)
    job.saver.begin(wish, time.monotonic() - began)
    return True


def wait(job: Job) -> None:
    """Returns when no save is in flight on any rank, and tells what became of the last one. Collective."""
    job.saver.wait()
    if job.attempts:
        job.world.barrier()  # rank 0 reads all of a checkpoint back; a collective may not take that long
    tell(job)


def tell(job: Job) -> None:
    """What became of the last save, once it is known, for people and for the metrics."""
    outcome = job.saver.outcome()
    if outcome is None or not job.world.first:
        return
    name = folder.name_of(outcome.step)
    seconds = {"stall": round(outcome.stall, 6), "seconds": round(outcome.seconds, 6)}
    done = outcome.published
    if outcome.error is not None or done is None:
        job.journal.add("save", step=outcome.step, error=outcome.error, **seconds)
        hint = "make room or mend the disk; training goes on, the next save tries again"
        job.journal.warn(f"cannot save the checkpoint of step {outcome.step}: {outcome.error}; {hint}")
        return
    job.journal.add("save", step=outcome.step, checkpoint=name, bytes=done.bytes, **seconds, dropped=done.dropped)
    if done.fault is not None:
        job.journal.warn(f"{name} does not read back as it was written ({done.fault}); no older checkpoint is dropped")
        return
    job.parent, job.good = {"checkpoint": name, "sha256": done.sha256}, outcome.step
    if outcome.untidy is not None:
        job.journal.warn(f"{name} is saved, but an older checkpoint cannot be dropped: {outcome.untidy}")


def finish(job: Job) -> None:
    """The checkpoint of the last step is on the disk when this returns. Collective; a save that failed is tried again.

    Raises TrainerError on every rank when there is none: what was there before is still there.
    """
    step = job.state.progress.step
    for _ in range(2):
        wait(job)
        if job.world.broadcast(job.good == step):
            return
        if not save(job):
            break
    wait(job)
    if job.world.broadcast(job.good == step):
        return
    # not `latest`: on a full disk a checkpoint may have come without its pointer
    whole = (path for path in folder.found(job.checkpoints) if verify.fault(path, hashes=False) is None)
    newest = next(whole, None)
    left = f"{newest.name} is there" if newest else "there is no checkpoint of this run"
    raise TrainerError(
        f"cannot save the checkpoint of step {step} in {job.checkpoints}; {left}",
        "make room or mend the disk, then run the same command again",
        OUTSIDE_FAILED,
    )


def facts(job: Job) -> dict[str, Any]:
    """What the manifest says beside its files."""
    progress = job.state.progress
    return {
        **job.state.facts(),
        "stage": job.plan.at(progress.step)[0],
        "identity": identity(job.config, job.source.identity),
        "precision": job.precision.to_json(),
        "parameters": job.state.engine.parameters,
        "config": job.config.to_json(),
        "metrics": job.journal.position(),
        "lineage": lineage(job.source.identity, job.world, job.parent),
    }


def rules(job: Job) -> Rules:
    """What retention keeps."""
    asked = job.config.checkpoint
    return Rules(asked.keep, asked.keep_every, asked.remote if asked.require_remote else None)


def _staging(job: Job, pieces: Any, pointers: tuple[str, ...]) -> Path | bool:
    """A fresh name for the staging folder; True when a good checkpoint of this step is there; False without room."""
    root, step = job.checkpoints, job.state.progress.step
    target = root / folder.name_of(step)
    folder.sweep(root)  # a rank that was late in a save that failed may have written on after its folder was removed
    try:
        if target.exists() and verify.fault(target) is None and manifest.resumable(manifest.read(target)):
            for pointer in pointers:
                folder.point(root, pointer, target.name)
            job.good = step
            return True
        root.mkdir(parents=True, exist_ok=True)
        needed = int(ROOMY * job.world.size * sum(piece.tensor.nbytes for piece in pieces)) + (1 << 20)
        short = _make_room(job, needed)
    except OSError as error:
        short = f"{root}: {error.strerror}"
    if short is None:
        return root / f".staging-{target.name}-{job.attempts}"
    job.journal.add("save", step=step, error=short)
    job.journal.warn(f"no checkpoint of step {step}: {short}; saving pauses until there is room, training goes on")
    return False


def _make_room(job: Job, needed: int) -> str | None:
    """Why a save of so many bytes does not fit, after dropping what the next tidying would drop anyway."""
    root, asked = job.checkpoints, job.config.checkpoint
    if space.check(root, needed, RESERVE) is None:
        return None
    sizes = {folder.step_of(path.name) or 0: space.taken(path) for path in folder.found(root)}
    stays = publish.protected(root, rules(job), {job.good} if job.good in sizes else set(sizes))
    free = space.free(root)
    for step in space.early(list(sizes), sizes, needed + RESERVE, free, asked.keep, asked.keep_every, stays):
        folder.discard(root / folder.name_of(step))
        job.journal.say(f"dropped {folder.name_of(step)} before the next is there: the disk is nearly full")
    return space.check(root, needed, RESERVE)
