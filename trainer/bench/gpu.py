"""On a GPU: MFU in bf16, and native FP8 against bf16 on the same data: tokens/s and loss."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch

from trainer.config import Config
from trainer.config.check import check, resolve
from trainer.config.read import apply_text
from trainer.errors import OUTSIDE_FAILED, TrainerError
from trainer.metrics import log
from trainer.run.folder import losses
from trainer.run.loop import train
from trainer.run.stop import StopRequest

# 1.01 billion parameters with its head, T = 2048; every matrix has a side of 2048 or more, as FP8 asks for
SHAPE = (
    "model.family=llama",
    "model.layers=18",
    "model.width=2048",
    "model.heads=16",
    "model.ffn=5632",
    "model.context=2048",
    "model.vocab=32768",
    "optim.lr=3e-4",
    "optim.min_lr=3e-5",
    "optim.warmup=50",
    "train.batch=32",
    "train.deterministic=false",
    "train.compile=true",
    "checkpoint.every=0",
    "metrics.every=50",
)


def measure(data: str, steps: int, backend: str, more: list[str]) -> dict[str, Any]:
    """bf16 and then FP8 with the same seed and data. Raises TrainerError without a GPU."""
    if not torch.cuda.is_available():
        raise TrainerError(
            "torch sees no GPU here", "run it on a machine with one; `bench` alone measures the CPU rows"
        )
    results = {}
    with tempfile.TemporaryDirectory(prefix="stoker-bench-") as scratch:
        for name, asked in (("bf16", []), ("fp8", ["precision.name=fp8-current", f"precision.backend={backend}"])):
            folder = Path(scratch) / name
            texts = [*SHAPE, f"train.steps={steps}", f"optim.decay_steps={steps}", f"data.path={data}"]
            _run(folder, [*texts, "precision.name=bf16", *asked, *more])
            results[name] = _summary(folder, steps)
    ratio = results["fp8"]["tokens_per_s"] / results["bf16"]["tokens_per_s"]
    return {
        "what": f"{SHAPE[0]}: bf16 and native FP8, {steps} steps each",
        "gpu": torch.cuda.get_device_name(),
        **results,
        "fp8_over_bf16_tokens_per_s": round(ratio, 4),
        "loss_gap": round(results["fp8"]["last_loss"] - results["bf16"]["last_loss"], 4),
    }


def _run(folder: Path, texts: list[str]) -> None:
    config = Config()
    apply_text(config, texts)
    resolve(config)
    check(config)
    code = train(config, folder, StopRequest())
    if code:
        raise TrainerError(f"the run in {folder} ended with {code}", "see the lines above", OUTSIDE_FAILED)
    torch.cuda.empty_cache()


def _summary(folder: Path, steps: int) -> dict[str, Any]:
    lines = [line for line in log.read(folder / log.PERFORMANCE) if line["step"] > min(50, steps // 2)]
    by_step = losses(folder)
    tail = [by_step[step] for step in sorted(by_step)[-25:]]
    return {
        "tokens_per_s": statistics.median(line["tokens_per_s"] for line in lines),
        "mfu": lines[-1]["mfu"],
        "peaks": lines[-1]["peaks"],
        "memory": lines[-1]["memory"],
        "first_loss": by_step[1],
        "last_loss": round(statistics.fmean(tail), 4),
        "steps": len(by_step),
    }
