"""What is said at the start: the config in full, and every choice that was made, with its reason."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path

import torch

from trainer import __version__
from trainer.metrics.peaks import peaks_of
from trainer.metrics.performance import Meter
from trainer.model.count import count, flops_per_token
from trainer.run.folder import CONFIG, PRECISION
from trainer.run.job import Job

EPOCHS = 4.0  # beyond these, repeated tokens are worth less and less (Muennighoff et al. 2023, arXiv:2305.16264)


def announce(job: Job, resumed: bool) -> None:
    """Says and writes how this attempt goes; raises TrainerError when a board that is asked for is not there."""
    journal, config, progress = job.journal, job.config, job.state.progress
    if job.world.first:
        _write(job.folder / CONFIG, config.to_json())
        _write(job.folder / PRECISION, job.precision.to_json())
        job.work.keep(job.folder)
    journal.open(progress.step, job.state.engine.parameters)
    for name, part in config.to_json().items():
        journal.say(f"{name}: {json.dumps(part)}")
    shape = count(config.model)
    journal.say(f"{shape.total:,} parameters ({shape.matrices:,} in matrices), {config.model.family}")
    journal.say(job.precision.describe())
    journal.say(f"attention {job.attention.name}: {job.attention.reason}")
    engine = job.state.engine
    spread = (
        engine.kind if engine.kind == "ddp" else f"{engine.kind} ZeRO-{engine.stage}, offload {config.parallel.offload}"
    )
    journal.say(f"{job.world.size} rank{'s' * (job.world.size > 1)} on {_device(job)}, {spread}")
    for row in job.plan.describe() if config.curriculum else []:
        journal.say(f"curriculum: {json.dumps(row)}")
    _warn_of_repeats(job)
    _warn_of_low_rate(job)
    journal.add(
        "start",
        step=progress.step,
        resumed=resumed,
        parameters=engine.parameters,
        steps=config.train.steps,
        device=_device(job),
        gpus=job.world.size,
        price=config.limits.price,
        engine=engine.kind,
        zero=engine.stage,
        precision=job.precision.to_json(),
        attention=job.attention.name,
        data=job.work.describe(),
        flops_per_token=flops(job, job.plan.at(progress.step)[1]),
        torch=torch.__version__,
        trainer=__version__,
        python=platform.python_version(),
        threads=torch.get_num_threads(),
        wall=round(time.time(), 3),
    )
    journal.say(f"from step {progress.step} to {config.train.steps}")


def flops(job: Job, length: int) -> float:
    """Training FLOPs per token at this sequence length, attention counted in full (see model.count)."""
    return float(flops_per_token(job.config.model, length).total)


def meter(job: Job) -> Meter:
    """What measures the steps."""
    metrics, device = job.config.metrics, job.world.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    peaks = peaks_of(name, job.precision.name, metrics.peak_bf16_tflops, metrics.peak_fp8_tflops)
    return Meter(
        flops(job, job.config.model.context),
        peaks,
        gpus=job.world.size,
        steps=job.config.train.steps,
        device=str(device),
        tally=job.journal.tally,
    )


def _warn_of_repeats(job: Job) -> None:
    epochs = job.config.train.steps * job.config.train.batch / job.source.windows
    if epochs > EPOCHS:
        least = " and evaluate.every, limits.patience" if not job.config.limits.patience else ""
        job.journal.warn(
            f"the run passes its data {epochs:.1f} times: beyond about {EPOCHS:.0f} it learns the text by heart; "
            f"use more data or fewer steps{least}"
        )


def _warn_of_low_rate(job: Job) -> None:
    optim, steps = job.config.optim, job.config.train.steps
    if optim.schedule != "constant" and 0 < optim.decay_steps < steps:
        job.journal.warn(
            f"the learning rate is down at step {optim.decay_steps} (optim.decay_steps) and stays there for the other "
            f"{steps - optim.decay_steps}; optim.decay_steps={steps} spreads it over the whole run"
        )


def _device(job: Job) -> str:
    device = job.world.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
