"""Stages over sequence length, the batch held in tokens: which length a step has, as a pure function of the step."""

from __future__ import annotations

import bisect
from typing import Any

from trainer.config.amounts import amount, divisors
from trainer.config.schema import Config, Stage
from trainer.errors import TrainerError

FORM = "for example curriculum=8:48Mi,64:1Gi,2048 (sequence length : tokens of the stage; the last one has the rest)"


class Plan:
    """The stages of a run. Without a curriculum: one, of model.context.

    A step is cut from whole windows of model.context tokens, train.batch of them, into sequences of the stage's
    length. So every step has the same number of tokens, and borders fall on steps exactly.
    """

    def __init__(self, config: Config) -> None:
        """Raises TrainerError for a length that does not divide the context, and for a border inside a step."""
        self.context = config.model.context
        self.steps = config.train.steps
        self.tokens_per_step = config.train.batch * config.model.context
        self._stages = config.curriculum or [Stage(length=config.model.context)]
        self._micro = [stage.micro_batch or config.train.micro_batch for stage in self._stages]
        for number, stage in enumerate(self._stages):
            self._check(number, stage, last=number == len(self._stages) - 1)
        self._borders = [0]
        for stage in self._stages[:-1]:
            self._borders.append(self._borders[-1] + stage.tokens // self.tokens_per_step)

    def at(self, step: int) -> tuple[int, int]:
        """Number of the stage, from 0, and its sequence length in tokens, for the step after `step` done ones."""
        number = bisect.bisect_right(self._borders, step) - 1
        return number, self._stages[number].length

    def borders(self) -> list[int]:
        """Steps done when a new stage begins; the first stage's 0 is not among them."""
        return self._borders[1:]

    def stages(self) -> list[tuple[int, int, int]]:
        """Per stage its number, sequence length, and the micro-batch in windows that it asks for (0: as the run)."""
        return [(number, stage.length, stage.micro_batch) for number, stage in enumerate(self._stages)]

    def describe(self) -> list[dict[str, Any]]:
        """Per stage: stage (from 1), length, sequences per micro-batch (0: measured at start), tokens, first_step and
        last_step (from 1, as the step lines count), within train.steps. A stage that train.steps does not reach has no
        tokens, and null for the steps."""
        rows = []
        ends = [*self._borders[1:], self.steps]
        for number, (stage, first, end) in enumerate(zip(self._stages, self._borders, ends, strict=True)):
            last = min(end, self.steps)
            steps = max(0, last - first)
            rows.append(
                {
                    "stage": number + 1,
                    "length": stage.length,
                    "sequences": self._micro[number] * (self.context // stage.length),
                    "tokens": steps * self.tokens_per_step,
                    "first_step": first + 1 if steps else None,
                    "last_step": last if steps else None,
                }
            )
        return rows

    def _check(self, number: int, stage: Stage, last: bool) -> None:
        name = f"curriculum[{number}]"
        if stage.length < 1 or self.context % stage.length:
            near = sorted(sorted(divisors(self.context), key=lambda length: abs(length - stage.length))[:2])
            hint = f"choose {' or '.join(map(str, near))}, or another context"
            raise TrainerError(f"{name}.length {stage.length} does not divide model.context {self.context}", hint)
        if stage.micro_batch < 0:
            raise TrainerError(f"{name}.micro_batch is {stage.micro_batch}", "it must be at least 0; 0: as the run's")
        if last:
            if stage.tokens:
                hint = "set it to 0 or leave it out: the last stage lasts until train.steps"
                raise TrainerError(f"{name}.tokens is {stage.tokens}, but it is the last stage", hint)
            return
        if stage.tokens < 1 or stage.tokens % self.tokens_per_step:
            whole = max(0, stage.tokens // self.tokens_per_step * self.tokens_per_step)
            near = [value for value in (whole, whole + self.tokens_per_step) if value > 0]
            raise TrainerError(
                f"{name}.tokens {stage.tokens} is not a multiple of the {self.tokens_per_step} tokens of a step",
                f"set it to {' or '.join(map(str, near))}, or change train.batch",
            )


def parse(text: str) -> list[Stage]:
    """Stages from `length:tokens[:micro_batch],...,length[::micro_batch]`; tokens as 50000000, 50M, 1.5B or 48Mi.

    Raises TrainerError for a part that is not of this form. Whether the numbers fit the run is for Plan to say.
    """
    stages = []
    for part in text.split(","):
        fields = [field.strip() for field in part.split(":")]
        try:
            if not 1 <= len(fields) <= 3:
                raise ValueError
            length, tokens, micro = [*fields, "", ""][:3]
            stages.append(Stage(int(length), amount(tokens or "0"), int(micro or "0")))
        except ValueError:
            raise TrainerError(f"curriculum: {part.strip()!r} is no stage", FORM) from None
    return stages
