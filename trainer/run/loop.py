"""The training loop: one step after another until something ends the run.

Deterministic where train.deterministic is on: the same config gives the same losses, killed between or not.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from trainer.config import Config
from trainer.config.check import batches
from trainer.errors import CHECK_FAILED, OUTSIDE_FAILED, TrainerError
from trainer.metrics.performance import Meter
from trainer.optim import fit
from trainer.optim.schedule import scale
from trainer.parallel.world import World, join
from trainer.run import announce, ended, ends, micro, save, validation
from trainer.run.corpus import Corpus
from trainer.run.folder import owned
from trainer.run.guards import APPLY, ROLLBACK, SKIP, STOP, Verdict, judge
from trainer.run.job import Job, Work, make
from trainer.run.journal import Journal
from trainer.run.restore import newest_good, resume, take
from trainer.run.resumption import Resume
from trainer.run.stop import SIGNALS, StopRequest

FP16_SKIPS = 20  # overflows in a row that a loss scale may need to come down from 2**16


def train(config: Config, folder: Path, stop: StopRequest, work: Work | None = None, wish: Resume | None = None) -> int:
    """Trains to the end that comes first, from the newest good checkpoint in `folder` if there is one.

    work: what to train on; None: pretraining on data.path. wish: how to resume. Returns the exit code: 0 done, 75
    stopped and resumable. Raises TrainerError. Called by every rank; an error of one rank that the others do not share
    ends the process.
    """
    world = join(config)
    try:
        with owned(folder) if world.first else nullcontext():
            world.same(json.dumps(config.to_json(), sort_keys=True))
            code = _attempt(config, folder, stop, world, work, wish or Resume())
        world.leave()
        return code
    except TrainerError as error:
        if world.size == 1:
            raise
        print(f"trainer: rank {world.rank}: {error.what}", error.next_step, sep="\n  -> ", file=sys.stderr)
        world.abort(error.exit_code)
    except BaseException:
        if world.size == 1:
            raise
        traceback.print_exc()
        world.abort(OUTSIDE_FAILED)


def _attempt(config: Config, folder: Path, stop: StopRequest, world: World, work: Work | None, wish: Resume) -> int:
    journal = Journal(config, folder, world.first, world.size)
    try:
        job = make(config, folder, world, work or Corpus(config, folder / "shards"), journal)
        try:
            resumed = resume(job, wish)
            announce.announce(job, resumed)
            return Loop(job, stop).run()
        finally:
            job.saver.close()
            job.source.close()
            job.work.close()
            job.state.engine.close()
    except (RuntimeError, MemoryError) as error:
        if not fit.out_of_memory(error):
            raise
        raise fit.oom_error(config, config.train.micro_batch or batches(config, world.size), world.size) from None
    finally:
        journal.close()


class Loop:
    """The steps of one attempt."""

    def __init__(self, job: Job, stop: StopRequest) -> None:
        self.job, self.stop = job, stop
        self.began = time.monotonic()
        self.micro = micro.sizes(job)
        self.meter: Meter = announce.meter(job)
        self.pairs: Any = job.work.validation(job.config) if job.config.evaluate.every else None
        self.length = 0
        self.saved = job.state.progress.step if job.parent is not None else -1
        self.proved = False  # that FP8 layers really compute in FP8
        if job.config.train.compile:
            micro.compile_model(job)
        self.meter.watch(job.state.engine.model)

    def run(self) -> int:
        """Steps until the end; gives back the exit code."""
        job, progress = self.job, self.job.state.progress
        while True:
            end = self._end()
            if end is not None:
                break
            if self._step():
                self._between()
            progress = job.state.progress
        if end.reason in {number.name for number in SIGNALS}:
            job.saver.hurry()
        if self.saved != progress.step:
            self._save()
        save.finish(job)
        self._tell_end(end)
        later = (
            "; the same command resumes" if end.exit_code else f", {progress.tokens} tokens, run folder {job.folder}"
        )
        job.journal.say(f"{'stopped by ' if end.reason != 'done' else ''}{end.reason} at step {progress.step}{later}")
        return end.exit_code

    def _tell_end(self, end: ends.End) -> None:
        """To the metrics, and to whoever finds the checkpoints at the store."""
        job, step = self.job, self.job.state.progress.step
        if job.world.first:
            try:
                ended.keep(job.folder, step, end)
            except OSError as error:  # the checkpoint is there, which is what counts
                job.journal.warn(f"cannot write {job.folder / ended.FILE}: {error.strerror}")
        job.journal.add("stop", step=step, reason=end.reason)

    def _end(self) -> ends.End | None:
        job, progress = self.job, self.job.state.progress
        mine = ends.number(
            job.config,
            self.stop,
            step=progress.step,
            tokens=progress.tokens,
            waited=progress.waited,
            seconds=time.monotonic() - self.began,
            dollars=job.dollars if job.config.limits.dollars else 0.0,
        )
        return ends.agree(mine, job.world.max)

    def _step(self) -> bool:
        """One step; whether it was applied (or passed over) rather than rolled back."""
        job, progress, engine = self.job, self.job.state.progress, self.job.state.engine
        length = self._stage()
        start = time.monotonic()
        self.meter.begin(progress.step + 1)
        total, tokens = self._gradients(length)
        norm = engine.norm()  # before the loss is waited for: a GPU that is asked twice stands still twice
        loss = float(total) / tokens if tokens else math.nan
        verdict = self._judge(loss, norm, tokens)
        rate = scale(progress.step, job.config.optim, job.config.train.steps)
        with self.meter.part("save"):
            job.saver.settle()  # the copy of the last save reads what the step is about to change
        with self.meter.part("optimizer"):
            if verdict.action == APPLY:
                engine.step(rate)
            else:
                engine.drop()
        if verdict.story:
            self._tell(verdict, loss, norm)
        if verdict.action == STOP:
            hint = "lower optim.lr, see docs/trainer.md on unstable runs; the newest checkpoint is good"
            raise TrainerError(f"step {progress.step + 1}: {verdict.story}", hint, CHECK_FAILED)
        if verdict.action == ROLLBACK:
            self._roll_back()
            return False
        progress.step += 1
        progress.samples += job.config.train.batch
        progress.tokens += tokens
        self._report(verdict, loss, norm, rate, tokens, time.monotonic() - start)
        return True

    def _gradients(self, length: int) -> tuple[torch.Tensor, int]:
        """Leaves the gradient of the mean loss in the engine; the summed loss and the tokens of the whole step."""
        job, engine = self.job, self.job.state.engine
        with self.meter.part("data"):
            pieces = job.source.micro_batches(job.state.progress.samples, self.micro[length], length)
            count, tokens = micro.count(job, self.micro[length]), job.config.train.batch * job.config.model.context
            if job.source.masked:
                kept = list(pieces)
                own = torch.tensor(float(sum(int((targets != -100).sum()) for _, targets in kept)))
                tokens, pieces = int(job.world.sum(own)), iter(kept)
        total = torch.zeros((), dtype=torch.float32, device=job.world.device)
        for number in range(count):
            with self.meter.part("data"):
                inputs, targets = next(pieces)
            with self.meter.part("backward"):
                total += engine.micro(inputs, targets, 1.0 / max(1, tokens), number == count - 1)
        return job.world.sum(total.double()), tokens

    def _judge(self, loss: float, norm: float, tokens: int) -> Verdict:
        progress, guard = self.job.state.progress, self.job.config.guard
        if not tokens:
            return Verdict(SKIP, "no token of this step counts for the loss; nothing to learn from it")
        overflow = self.job.precision.name == "fp16" and math.isfinite(loss) and not math.isfinite(norm)
        if overflow and progress.watch.skipped < FP16_SKIPS:
            # no fault of the data: the scaler halves its scale and the next step is tried, whatever guard.nan is
            guard = dataclasses.replace(guard, nan="skip", skips=FP16_SKIPS)
        return judge(loss, norm, guard, progress.watch)

    def _tell(self, verdict: Verdict, loss: float, norm: float) -> None:
        step = self.job.state.progress.step + 1
        self.job.journal.warn(f"step {step}: {verdict.story}")
        self.job.journal.add("guard", step=step, action=verdict.action, story=verdict.story, loss=loss, grad_norm=norm)

    def _report(self, verdict: Verdict, loss: float, norm: float, rate: float, tokens: int, seconds: float) -> None:
        job, progress = self.job, self.job.state.progress
        performance = self.meter.end(tokens)
        values: dict[str, Any] = {
            "step": progress.step,
            "loss": loss,
            "lr": rate * job.config.optim.lr,
            "grad_norm": norm,
            "tokens": progress.tokens,
            "epoch": round(progress.samples / job.source.windows, 4),
            "step_seconds": round(seconds, 6),
            "seconds": round(time.monotonic() - self.began, 3),
        }
        if verdict.action == SKIP:
            values["skipped"] = True
        job.journal.step(performance, **values, **self._fp8(progress.step))

    def _fp8(self, step: int) -> dict[str, Any]:
        """FP8 statistics every 100 steps; after the first step with FP8 the proof that it is on."""
        job = self.job
        if not job.precision.fp8 or step <= job.precision.warmup_steps:
            return {}
        backend, model = job.state.engine.backend, job.state.engine.model
        first = not self.proved
        if first:
            active = backend.check_active(model, step - 1)
            job.journal.say(f"{active} layers compute in {job.precision.name} ({job.precision.backend})")
            self.proved = True
        return backend.statistics(model) if first or step % 100 == 0 else {}

    def _stage(self) -> int:
        """The sequence length of the coming step; tells of a new stage."""
        number, length = self.job.plan.at(self.job.state.progress.step)
        if length != self.length:
            self.meter.stage(announce.flops(self.job, length))
            if self.job.config.curriculum:
                step = self.job.state.progress.step
                self.job.journal.say(f"stage {number + 1}: sequences of {length} tokens from step {step + 1} on")
                self.job.journal.add("stage", step=step, stage=number, length=length, micro=self.micro[length])
            self.length = length
        return length

    def _between(self) -> None:
        """What is due after a step: an evaluation, a checkpoint."""
        job, progress = self.job, self.job.state.progress
        save.tell(job)
        best = False
        if self.pairs is not None and progress.step % job.config.evaluate.every == 0:
            with self.meter.part("evaluate"):
                best = validation.validate(job, self.pairs, self.micro[self.length])
        every = job.config.checkpoint.every
        if best or (every and progress.step % every == 0):
            self._save(best)

    def _save(self, best: bool = False) -> None:
        with self.meter.part("save"):
            if save.save(self.job, best):
                self.saved = self.job.state.progress.step

    def _roll_back(self) -> None:
        """To the newest checkpoint, with the data behind the step that went wrong."""
        job = self.job
        bad, watch = job.state.progress, job.state.progress.watch
        save.wait(job)
        newest = newest_good(job)
        if newest is None:
            raise TrainerError(
                f"step {bad.step + 1} went wrong, and there is no checkpoint to go back to",
                "set checkpoint.every lower, or optim.lr",
                CHECK_FAILED,
            )
        take(job, newest)
        progress = job.state.progress
        progress.samples = bad.samples + job.config.train.batch
        progress.watch.rollbacks, progress.watch.skipped = watch.rollbacks, watch.skipped
        job.journal.add("guard", step=bad.step + 1, action="rollback", to=progress.step)
        job.journal.warn(f"back at step {progress.step}; on behind the data of step {bad.step + 1}")
