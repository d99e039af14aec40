"""The evaluations of a run: when one is the best so far, its step is remembered."""

from __future__ import annotations

from typing import Any

from trainer.metrics.progress import validation_line
from trainer.run.evaluate import evaluate
from trainer.run.job import Job


def validate(job: Job, pairs: Any, micro: int) -> bool:
    """Evaluates at the full context, on all ranks; whether this is the lowest validation loss so far.

    Sequences are model.context long whatever the curriculum's stage, so that the losses of a run compare.
    """
    progress, engine = job.state.progress, job.state.engine
    found = evaluate(
        engine.model,
        pairs,
        job.work.token_bytes,
        tokens=job.config.evaluate.tokens,
        batch=micro,
        device=job.world.device,
        world=job.world,
        autocast=lambda: engine.backend.autocast(progress.step),
    )
    best = progress.best_loss is None or found.loss < progress.best_loss
    if best:
        progress.best_loss, progress.best_step, progress.waited = found.loss, progress.step, 0
    else:
        progress.waited += 1
    values = found.to_json()
    job.journal.add("eval", step=progress.step, val_loss=values.pop("loss"), **values, best=best)
    job.journal.say(validation_line(progress.step, found.loss, found.bits_per_byte, best))
    job.journal.judge_evaluations()
    return best
