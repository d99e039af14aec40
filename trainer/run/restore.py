"""Resuming with all ranks: which checkpoint is taken up, and what must be as it was."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainer.checkpoint import folder, manifest, verify
from trainer.errors import OUTSIDE_FAILED, REFUSED, TrainerError
from trainer.precision.policy import Resolved, changed
from trainer.run.job import Job, identity, refuse_other
from trainer.run.resumption import Resume


def resume(job: Job, wish: Resume) -> bool:
    """Takes over the newest good checkpoint of the folder, if there is one. Collective.

    Raises TrainerError when the folder holds another run, or one in another precision, unless that is allowed.
    """
    if job.world.first:
        folder.sweep(job.checkpoints)
    newest = newest_good(job) if wish.step is None else _chosen(job, wish.step)
    if newest is None:
        damaged = job.world.broadcast(job.world.first and bool(folder.found(job.checkpoints)))
        remote = job.config.checkpoint.remote
        if damaged and remote:
            hint = f"python -m trainer pull {remote} --run {job.folder} --force; or give another --run to begin anew"
            raise TrainerError(f"no checkpoint in {job.folder} is good, and {remote} may have one", hint, REFUSED)
        if weights := job.world.broadcast(_weights_only(job) if job.world.first else None):
            hint = f"trainer pull URL --run {job.folder} fetches the rest of it; or give another --run to begin anew"
            raise TrainerError(
                f"{job.folder} has the weights of {weights} only, and no training goes on from those", hint, REFUSED
            )
        if damaged:
            job.journal.warn("no checkpoint of this run is good; starting from step 0")
        return False
    content = manifest.read(newest)
    refuse_other(content["identity"], identity(job.config, job.source.identity), job.folder, wish.allow)
    differences = changed(Resolved.from_json(content["precision"]), job.precision)
    if differences and "precision" not in wish.allow:
        hint = "give the old precision.*, another --run folder, or --allow-change precision"
        raise TrainerError(f"{job.folder} was trained in another precision: {'; '.join(differences)}", hint)
    if job.world.first:
        if wish.step is not None:
            _set_aside(job, wish.step)
        _point(job, newest, content)
    optimizer = content["identity"].get("optim", {}).get("name", job.config.optim.name)
    take(job, newest, optimizer == job.config.optim.name)
    job.journal.say(f"resuming from {newest.name}")
    if optimizer != job.config.optim.name:
        differences.append(f"optimizer {optimizer} -> {job.config.optim.name}, whose state begins anew")
    for difference in [*differences, *_spread(job, content["engine"])]:
        job.journal.warn(f"changed since {newest.name}: {difference}")
    return True


def _weights_only(job: Job) -> str | None:
    """The newest checkpoint that holds weights only, fetched or thinned: beginning anew would drop it."""
    for path in folder.found(job.checkpoints):
        try:
            if not manifest.resumable(manifest.read(path)):
                return path.name
        except manifest.Damaged:
            continue
    return None


def take(job: Job, checkpoint: Path, optimizer: bool = True) -> None:
    """The state of a verified checkpoint, the optimizer's or not. Collective."""
    job.state.read(checkpoint, optimizer)
    job.good = job.state.progress.step
    job.parent = {"checkpoint": checkpoint.name, "sha256": manifest.read(checkpoint)[manifest.OWN]}


def newest_good(job: Job) -> Path | None:
    """The newest checkpoint whose every byte is as written, as rank 0 finds it; collective."""
    newest = verify.newest_good(job.checkpoints, job.journal.warn) if job.world.first else None
    job.world.barrier()  # checking all of a checkpoint takes longer than a collective may
    found: Path | None = job.world.broadcast(newest)
    return found


def _chosen(job: Job, step: int) -> Path:
    """The checkpoint that the user named, verified. Raises TrainerError on every rank."""
    chosen = job.checkpoints / folder.name_of(step)
    reason = None
    if job.world.first:
        reason = verify.fault(chosen) if chosen.is_dir() else "it is not there"
        if reason is None and not manifest.resumable(manifest.read(chosen)):
            reason = "it holds weights only"
    job.world.barrier()
    reason = job.world.broadcast(reason)
    if reason is not None:
        there = ", ".join(str(folder.step_of(path.name)) for path in reversed(folder.found(job.checkpoints))) or "none"
        hint = f"steps that are there: {there}"
        if job.config.checkpoint.remote:
            hint += f"; from the store: pull {job.config.checkpoint.remote} --run {job.folder} --step {step} --force"
        raise TrainerError(f"cannot resume from step {step}: {reason}", hint, OUTSIDE_FAILED)
    return chosen


def _set_aside(job: Job, step: int) -> None:
    """Moves newer checkpoints out of the way: the run takes another turn at `step`, and nothing is deleted."""
    newer = [path for path in folder.found(job.checkpoints) if (folder.step_of(path.name) or 0) > step]
    if not newer:
        return
    aside = job.folder / f"set-aside-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    aside.mkdir()
    for path in newer:
        path.rename(aside / path.name)
    names = ", ".join(path.name for path in reversed(newer))
    job.journal.warn(f"{names} moved to {aside}: delete it when nothing in it is wanted any more")


def _point(job: Job, newest: Path, content: dict[str, Any]) -> None:
    """Mends the pointers: a kill may have come between a checkpoint and them, and retention goes by `best`."""
    root = job.checkpoints
    best = root / folder.name_of(content["best"]["step"])
    known = content["best"]["loss"] is not None and best.is_dir()  # without a loss the step says nothing
    wanted = {folder.LATEST: newest, folder.BEST: best if known else folder.pointed(root, folder.BEST)}
    with suppress(OSError):  # on a full disk they stay as they are until the next save
        for pointer, target in wanted.items():
            if target is None:
                (root / pointer).unlink(missing_ok=True)
            elif folder.pointed(root, pointer) != target:
                folder.point(root, pointer, target.name)


def _spread(job: Job, then: dict[str, Any]) -> list[str]:
    """What else than before spreads the model; it changes losses by rounding only."""
    engine = job.state.engine
    now = {"kind": engine.kind, "zero": engine.stage, "world": job.world.size}
    titles = {"kind": "engine", "zero": "ZeRO stage", "world": "ranks"}
    return [f"{titles[key]} {then[key]} -> {value}" for key, value in now.items() if then[key] != value]
