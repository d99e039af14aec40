"""Saving and resuming with all ranks: rank 0 makes, seals and names the folder, every rank writes its part."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from trainer.errors import TrainerError
from trainer.precision.policy import Resolved, changed
from trainer.run import checkpoint
from trainer.run.checkpoint import BEST, POINTER
from trainer.run.job import Job, identity, refuse_other


def save(job: Job, best: bool = False) -> None:
    """Makes the checkpoint of this step; best: it is also the one with the lowest validation loss. Collective."""
    began = time.monotonic()
    progress, world, root = job.state.progress, job.world, job.checkpoints
    job.journal.sync()
    progress.dollars = job.dollars
    with checkpoint.explained(root, progress.step):
        staging = checkpoint.stage(root, progress.step) if world.first else None
        staging = world.broadcast(staging)
        if staging is not None:
            job.state.write(staging)
            world.barrier()
        if world.first:
            named = checkpoint.name_of(progress.step)
            if best:
                keep_best = named
            else:
                pointed = checkpoint.pointed(root, BEST)
                keep_best = pointed.name if pointed else ""
            pointers = (BEST, POINTER) if best else (POINTER,)
            kept = frozenset({keep_best} - {""})
            checkpoint.publish(root, progress.step, staging, facts(job), job.config.checkpoint.keep, kept, pointers)
    world.barrier()
    seconds = round(time.monotonic() - began, 6)
    job.journal.add("save", step=progress.step, checkpoint=checkpoint.name_of(progress.step), stall=seconds)


def resume(job: Job) -> bool:
    """Takes over the newest good checkpoint of the folder, if there is one. Collective.

    Raises TrainerError when the folder holds another run, or one in another precision.
    """
    if job.world.first:
        checkpoint.sweep(job.checkpoints)
    newest = newest_good(job)
    if newest is None:
        if job.world.first and checkpoint.found(job.checkpoints):
            job.journal.warn("no checkpoint of this run is good; starting from step 0")
        return False
    manifest = checkpoint.manifest(newest)
    refuse_other(manifest["identity"], identity(job), job.folder)
    differences = changed(Resolved.from_json(manifest["precision"]), job.precision)
    if differences:
        hint = "give the old precision.*, or another --run folder"
        raise TrainerError(f"{job.folder} was trained in another precision: {'; '.join(differences)}", hint)
    job.state.read(newest)
    job.journal.say(f"resuming from {newest.name}")
    return True


def newest_good(job: Job) -> Path | None:
    """The newest checkpoint whose every byte is as written, as rank 0 finds it; collective."""
    newest = checkpoint.newest_good(job.checkpoints, job.journal.warn) if job.world.first else None
    job.world.barrier()  # checking all of a checkpoint takes longer than a collective may
    found: Path | None = job.world.broadcast(newest)
    return found


def facts(job: Job) -> dict[str, Any]:
    """What the manifest says beside its files."""
    progress = job.state.progress
    return {
        "identity": identity(job),
        "precision": job.precision.to_json(),
        "engine": job.state.engine.kind,
        "zero": job.state.engine.stage,
        "world": job.world.size,
        "parameters": job.state.engine.parameters,
        "tokens": progress.tokens,
        "samples": progress.samples,
        "best": {"loss": progress.best_loss, "step": progress.best_step},
        "torch": torch.__version__,
        "config": job.config.to_json(),
    }
