"""What a run is to reach: exactly one of tokens, steps, epochs, hours, dollars."""

from __future__ import annotations

import math
from dataclasses import dataclass

from profiles.errors import WrongInput

FLAGS = {"tokens": "--tokens", "steps": "--steps", "epochs": "--epochs", "hours": "--hours", "dollars": "--budget"}
# Above these a number is a slip of the keyboard: the largest corpora hold some 1e14 tokens, 1e5 hours are 11 years.
MOST = {"tokens": 1e16, "steps": 1e10, "epochs": 1e5, "hours": 1e5, "dollars": 1e9}


@dataclass(frozen=True, slots=True)
class Goal:
    """One of the five is set. hours and dollars hold everything that is paid, start-up included.

    dataset_tokens: of the training split, for epochs and for the size on disk; 0: not known.
    Raises WrongInput for none, for two (naming both flags), and for zero, negative or absurd numbers.
    """

    tokens: float | None = None
    steps: float | None = None
    epochs: float | None = None
    hours: float | None = None
    dollars: float | None = None
    dataset_tokens: float = 0

    def __post_init__(self) -> None:
        given = [name for name in FLAGS if getattr(self, name) is not None]
        if not given:
            raise WrongInput(
                "nothing to plan for: no amount of training is given", f"give one of {', '.join(_flags())}"
            )
        if len(given) > 1:
            said = " and ".join(FLAGS[name] for name in given)
            raise WrongInput(f"{said} contradict each other: one decides the others", f"leave {_but_one(given)} out")
        _sane(FLAGS[given[0]], self.amount, MOST[given[0]])
        if self.dataset_tokens:
            _sane("--dataset-tokens", self.dataset_tokens, MOST["tokens"])
        if self.epochs is not None and not self.dataset_tokens:
            raise WrongInput("--epochs needs the size of the dataset", "give --dataset-tokens as well")

    @property
    def kind(self) -> str:
        """tokens, steps, epochs, hours or dollars."""
        return next(name for name in FLAGS if getattr(self, name) is not None)

    @property
    def amount(self) -> float:
        """The number that is set."""
        return float(getattr(self, self.kind))

    @property
    def flag(self) -> str:
        """Its flag."""
        return FLAGS[self.kind]

    def steps_for(self, step_tokens: int) -> int | None:
        """Whole optimizer steps that reach an amount of training, at least one; None for hours and dollars.

        step_tokens: tokens of one optimizer step. Raises WrongInput when a step is none.
        """
        if step_tokens < 1:
            raise WrongInput(f"an optimizer step of {step_tokens} tokens trains nothing", "set --batch to 1 or more")
        if self.kind == "steps":
            return math.ceil(self.amount)
        tokens = {"tokens": self.amount, "epochs": self.amount * self.dataset_tokens}.get(self.kind)
        return None if tokens is None else max(1, math.ceil(tokens / step_tokens - 1e-9))


def _sane(flag: str, value: float, most: float) -> None:
    if not math.isfinite(value) or value <= 0:
        raise WrongInput(f"{flag} is {value:g}", f"give {flag} a number above 0")
    if value > most:
        raise WrongInput(f"{flag} is {value:g}, more than {most:g}", f"check the zeros of {flag}")


def _flags() -> list[str]:
    return list(FLAGS.values())


def _but_one(given: list[str]) -> str:
    """All flags but the first, which stays."""
    return " and ".join(FLAGS[name] for name in given[1:])
