"""Where a run stands: the line of a step, and the summary of a run folder by its files alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.metrics.goodput import Goodput, Tally
from trainer.metrics.money import dollars, short, spell

RECENT = 50  # steps that the speed is taken from


def progress_line(
    step: int,
    steps: int,
    loss: float | None,
    lr: float,
    performance: Mapping[str, Any] | None = None,
    grad_norm: float | None = None,
) -> str:
    """The words of a step, for the terminal and training.log. performance: what Meter.end gave.

    step 1200/10000 | loss 3.4567 | lr 2.90e-04 | 91.2k tok/s | 0.17 steps/s | MFU 41.0% bf16 20.5% fp8 | ETA 14h03m
    | $12.40
    """
    parts = [f"step {step}/{steps}", "loss not finite" if loss is None else f"loss {loss:.4f}", f"lr {lr:.2e}"]
    if grad_norm is not None:
        parts.append(f"norm {grad_norm:.2f}")
    told = performance or {}
    if told.get("tokens_per_s") is not None:
        parts.append(f"{short(told['tokens_per_s'])} tok/s")
        parts.append(f"{told['steps_per_second']:.3g} steps/s")
    shares = [f"{share:.1%} {kind}" for kind, share in (told.get("mfu") or {}).items() if share is not None]
    if shares:
        parts.append(f"MFU {' '.join(shares)}")
    if told.get("eta_seconds") is not None:
        parts.append(f"ETA {spell(told['eta_seconds'])}")
    spent = (told.get("dollars") or {}).get("run")
    if spent:
        parts.append(f"${spent:.2f}")
    return " | ".join(parts)


def validation_line(step: int, loss: float, bits_per_byte: float | None = None, best: bool = False) -> str:
    """The words of an evaluation. In training.log, behind the time, the loss is field 5: the five best are
    `grep "Validation loss" training.log | sort -k5 -n | head -5`."""
    more = "" if bits_per_byte is None else f", {bits_per_byte:.4f} bits per byte"
    return f"step={step} Validation loss {loss:.4f}{more}{' (best so far)' if best else ''}"


@dataclass(frozen=True)
class Progress:
    """step of steps (0: not known), speed over the newest steps of this attempt, what is left and spent.

    remaining_seconds counts saves and evaluations in; ended: the reason of the stop line, if it is the last.
    """

    step: int
    steps: int
    loss: float | None
    tokens: int | None
    tokens_per_s: float | None
    steps_per_second: float | None
    remaining_seconds: float | None
    dollars: float | None
    remaining_dollars: float | None
    best_step: int | None
    best_loss: float | None
    mfu: dict[str, float | None] | None
    ended: str | None
    goodput: Goodput

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "goodput": self.goodput.to_json()}


class Follower:
    """Keeps a run's progress up to date from its lines as they come."""

    def __init__(self, steps: int = 0, price: float = 0.0, gpus: int = 1) -> None:
        self._steps, self._price, self._gpus = steps, price, gpus
        self._tally = Tally(price, gpus)
        self._recent: list[Mapping[str, Any]] = []
        self._last: Mapping[str, Any] = {}
        self._best: tuple[float, int] | None = None
        self._mfu: dict[str, float | None] | None = None
        self._ended: str | None = None

    def add(self, record: Mapping[str, Any]) -> None:
        """Takes a line of training_metrics.jsonl or performance_metrics.jsonl."""
        event = record.get("event")
        if event == "performance":
            self._mfu = record.get("mfu")
            return
        self._tally.add(record)
        if event == "start":
            self._recent = []
            self._price = _number(record.get("price")) or self._price
            self._gpus = int(_number(record.get("gpus")) or self._gpus)
            self._steps = int(_number(record.get("steps")) or self._steps)
        elif event == "step" and isinstance(record.get("step"), int):
            if self._recent and record["step"] <= self._recent[-1]["step"]:
                self._recent = []  # gone back to a checkpoint
            self._recent = [*self._recent[-RECENT:], record]
            self._last = record
        elif event == "eval":
            loss = _number(record.get("val_loss", record.get("loss")))
            if loss is not None and (self._best is None or loss < self._best[0]):
                self._best = (loss, int(_number(record.get("step")) or 0))
        self._ended = str(record.get("reason", "")) if event == "stop" else None

    def progress(self) -> Progress:
        """Where the run stands now."""
        pace = self._pace()
        step = int(_number(self._last.get("step")) or 0)
        known = pace is not None and self._steps > 0
        left = max(0, self._steps - step) * pace if known and pace is not None else None
        result = self._tally.result()
        priced = self._price > 0
        return Progress(
            step=step,
            steps=self._steps,
            loss=_number(self._last.get("loss")),
            tokens=int(tokens) if (tokens := _number(self._last.get("tokens"))) is not None else None,
            tokens_per_s=_number(self._last.get("tokens_per_s")),
            steps_per_second=1 / pace if pace else None,
            remaining_seconds=left,
            dollars=result.dollars if priced else None,
            remaining_dollars=dollars(left, self._price, self._gpus) if priced and left is not None else None,
            best_step=self._best[1] if self._best else None,
            best_loss=self._best[0] if self._best else None,
            mfu=self._mfu,
            ended=self._ended,
            goodput=result,
        )

    def _pace(self) -> float | None:
        """Seconds per step, saves and evaluations counted in; without the attempt's first step where others follow."""
        if len(self._recent) >= 2:
            first, last = self._recent[0], self._recent[-1]
            began, ended = _number(first.get("up")), _number(last.get("up"))
            if began is not None and ended is not None and ended > began:
                return (ended - began) / (len(self._recent) - 1)
        for name in ("steps_per_second", "step_seconds"):
            value = _number(self._last.get(name))
            if value:
                return 1 / value if name == "steps_per_second" else value
        return None


def told_by_config(folder: Path) -> tuple[int, float]:
    """(steps, dollars per GPU-hour) of RUN/config.json; zeros where it says nothing."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return int(config["train"]["steps"]), float(config["limits"]["price"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0.0


def summary(progress: Progress) -> str:
    """For people; a few lines."""
    result = progress.goodput
    total = f"{progress.step} / {progress.steps or '?'}"
    share = f" ({progress.step / progress.steps:.1%})" if progress.steps else ""
    lines = [f"step       {total}{share}" + (f", ended: {progress.ended}" if progress.ended else "")]
    if progress.loss is not None:
        lines.append(f"loss       {progress.loss:.4f}")
    if progress.best_loss is not None:
        lines.append(f"best       validation loss {progress.best_loss:.4f} at step {progress.best_step}")
    speed = []
    if progress.steps_per_second is not None:
        speed.append(f"{progress.steps_per_second:.4g} steps/s ({progress.steps_per_second * 3600:.0f} steps/h)")
    if progress.tokens_per_s is not None:
        speed.append(f"{short(progress.tokens_per_s)} tok/s")
    shares = [f"{share:.1%} {kind}" for kind, share in (progress.mfu or {}).items() if share is not None]
    lines += [f"speed      {', '.join([*speed, *(f'MFU {share}' for share in shares)])}"] if speed else []
    if progress.remaining_seconds is not None and not progress.ended:
        cost = "" if progress.remaining_dollars is None else f", ${progress.remaining_dollars:.2f}"
        lines.append(f"remaining  {progress.remaining_seconds / 3600:.2f} h{cost}")
    if progress.dollars is not None:
        lines.append(f"spent      ${progress.dollars:.2f} in {result.seconds / 3600:.2f} h")
    if result.goodput is not None:
        lines.append(f"goodput    {result.goodput:.1%} of {spell(result.seconds)} in {_attempts(result.attempts)}")
        lines.append(f"           {_told(result)}")
    return "\n".join(lines)


def _attempts(number: int) -> str:
    return "1 attempt" if number == 1 else f"{number} attempts"


def _told(result: Goodput) -> str:
    names: Sequence[str] = ("startup", "compile", "save", "evaluation", "lost", "other")
    return ", ".join(f"{name} {spell(getattr(result, name))}" for name in names) + (
        f"; {result.lost_steps} steps lost" if result.lost_steps else ""
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
