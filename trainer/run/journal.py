"""What the run writes of itself: words, metrics lines, boards. The first rank writes, the others are silent."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from trainer.config import Config
from trainer.metrics import log
from trainer.metrics.advice import advise, overfitting
from trainer.metrics.boards import Boards, open_boards
from trainer.metrics.goodput import Tally
from trainer.metrics.gpu import Sampler
from trainer.metrics.progress import progress_line
from trainer.metrics.system import process_began

TOLD = ("save", "stop")  # events that a fleet acts upon (fleet/life/signs.py)
ADVICE_AFTER = 10  # split steps: the first ones compile
ADVISED = 10_000_000  # parameters; in a smaller model everything but the model takes a share of the step


class Heard(logging.Handler):
    """What other rooms log (a delayed download) becomes a sentence of the run."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one record."""
        self._journal.warn(record.getMessage())


class Journal:
    """Files in `folder` and lines on the terminal. first: this is rank 0; gpus: devices that are paid for."""

    def __init__(self, config: Config, folder: Path, first: bool, gpus: int) -> None:
        self.config, self.folder, self.first = config, folder, first
        self.began = process_began()
        self.tally = Tally(config.limits.price, gpus)
        self._boards: Boards | None = None
        self._sampler: Sampler | None = None
        self._terminal = sys.stdout.isatty()
        self._heard = Heard(self)
        logging.getLogger("trainer").addHandler(self._heard)
        self._evaluations: list[dict[str, Any]] = []  # their lines, of all attempts
        self._measured = 0  # steps whose time was split
        self.parameters = 0
        if not first:
            return
        self.words = log.Words(folder / log.WORDS)
        for line in log.read(folder / log.TRAINING):
            self._count(line)
        self._training = log.JsonLines(folder / log.TRAINING, None, self.began, self.words.warn, self._also)
        attempt = self._training.attempt
        self._performance = log.JsonLines(
            folder / log.PERFORMANCE, attempt, self.began, self.words.warn, self._on_boards
        )
        if self._training.cut:
            self.words.say(f"cut a torn line of {self._training.cut} bytes that a killed process left")

    def open(self, first_step: int, parameters: int) -> None:
        """Opens the boards and begins to watch the GPUs. Raises TrainerError when a board cannot be had."""
        if not self.first:
            return
        self.parameters = parameters
        metrics = self.config.metrics
        self._boards = open_boards(metrics, self.folder, self.config.to_json(), first_step, self.words.warn)
        lines = log.JsonLines(
            self.folder / log.GPU, self._training.attempt, self.began, self.words.warn, self._on_boards
        )
        self._sampler = Sampler(
            lines, metrics.gpu_seconds, self.folder, self.words.say, gpus=self.config.train.device != "cpu"
        )

    def say(self, text: str) -> None:
        """A sentence for people."""
        if self.first:
            self.words.say(text)

    def warn(self, text: str) -> None:
        """The same, marked."""
        if self.first:
            self.words.warn(text)

    def add(self, event: str, **values: Any) -> None:
        """A line of training_metrics.jsonl; of TOLD on standard output too, for who watches from outside."""
        if not self.first:
            return
        line = self._training.add(event, **values)
        if event in TOLD and not self._terminal:
            self._out(json.dumps(line))

    def step(self, performance: dict[str, Any], **values: Any) -> None:
        """The lines of one step: training, performance, and standard output every metrics.every steps."""
        if not self.first:
            return
        speeds = {name: performance[name] for name in ("tokens_per_s", "steps_per_second")}
        line = self._training.add("step", **values, **speeds)
        self._performance.add("performance", **performance)
        self._advise(performance)
        if values["step"] % self.config.metrics.every and values["step"] != self.config.train.steps:
            return
        words = progress_line(
            values["step"], self.config.train.steps, line["loss"], values["lr"], performance, line["grad_norm"]
        )
        self.words.write(words)
        self._out(words if self._terminal else json.dumps(line))

    @staticmethod
    def _out(line: str) -> None:
        try:
            print(line, flush=True)
        except OSError:  # a full disk or a closed pipe behind standard output; the files have the line
            pass

    def judge_evaluations(self) -> None:
        """Warns when the validation loss keeps rising."""
        if self.first:
            warning = overfitting(self._evaluations)
            if warning:
                self.warn(warning)

    def sync(self) -> None:
        """Everything that was said reaches the disk. May be called from another thread."""
        if self.first:
            self._training.sync()

    def position(self) -> dict[str, int]:
        """Bytes of each metrics file as of now."""
        lines = (self._training, self._performance) if self.first else ()
        return {one.path.name: one.path.stat().st_size for one in lines if one.path.exists()}

    def close(self) -> None:
        """Ends threads and closes the files; never raises."""
        logging.getLogger("trainer").removeHandler(self._heard)
        if not self.first:
            return
        if self._sampler is not None:
            self._sampler.close()
        if self._boards is not None:
            self._boards.close()
        self._performance.close()
        self._training.close()
        self.words.close()

    def _advise(self, performance: dict[str, Any]) -> None:
        """Once per attempt, when the speeds have settled: what its own numbers say could be better."""
        self._measured += bool(performance["split"])
        if self._measured != ADVICE_AFTER or self.parameters < ADVISED:
            return
        self._measured += 1
        gpus = (self._sampler.latest or {}).get("gpus") or () if self._sampler is not None else ()
        spent = self.tally.result().to_json()
        for sentence in advise(
            performance, parameters=self.parameters, settings=self.config.to_json(), gpus=gpus, spent=spent
        ):
            self.say(f"advice: {sentence}")

    def _count(self, line: dict[str, Any]) -> None:
        self.tally.add(line)
        if line.get("event") == "eval":
            self._evaluations.append(line)

    def _also(self, line: dict[str, Any]) -> None:
        self._count(line)
        self._on_boards(line)

    def _on_boards(self, line: dict[str, Any]) -> None:
        if self._boards is not None:
            self._boards.add(line)
