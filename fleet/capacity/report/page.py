"""What the HTML page shows, as plain values. page_of (reading.py) makes it of a plan's JSON document."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet.capacity.figure import Figure

RUNS = ("fits", "tight", "dear")  # verdicts of setups that can be started; dear: it costs more per hour than allowed


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a GPU's memory in bytes. knob: the configuration key that changes it."""

    name: str
    bytes: float
    source: str = ""
    knob: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """The memory of one GPU in bytes: terms may be empty when only the total is known."""

    total: float
    capacity: float
    terms: tuple[Term, ...] = ()
    low: float | None = None
    high: float | None = None
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """GPUs that could do the work; None is what the plan does not say."""

    gpu: str
    gpus: int
    verdict: str
    micro_batch: int | None = None
    hours: Figure | None = None
    dollars: Figure | None = None
    price: Figure | None = None  # USD per GPU-hour
    speed: Figure | None = None  # tokens/s of all GPUs
    tokens: Figure | None = None
    memory: Bar | None = None
    settings: str = ""  # 'bf16, ZeRO-2'
    why: str = ""
    chosen: bool = False

    @property
    def label(self) -> str:
        """'8× H100 SXM5 80GB'."""
        return f"{self.gpus}× {self.gpu}"

    @property
    def runs(self) -> bool:
        """It can be started: it fits, if only just."""
        return self.verdict in RUNS


@dataclass(frozen=True, slots=True)
class Part:
    """A share of a whole, in the whole's unit."""

    name: str
    value: float
    source: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """Something to change. setting: how to write it; saves: bytes of a GPU; fits: it is enough by itself.

    flags: what to type at `plan` to try it; host: bytes of each machine's RAM that it takes.
    """

    what: str
    setting: str
    costs: str
    saves: float | None = None
    fits: bool = False
    flags: str = ""
    host: float | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """The largest micro-batch of one GPU at one sequence length; 0: not even one fits, None: not computed."""

    gpu: str
    length: int
    micro_batch: int | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """A number of the summary and how it is called."""

    label: str
    figure: Figure


@dataclass(frozen=True, slots=True)
class Limits:
    """What was asked to stay within: USD in all, USD per hour for all GPUs together, hours."""

    dollars: float | None = None
    dollars_per_hour: float | None = None
    hours: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Everything the page says. how: words of the chosen setup ('bf16', 'ZeRO-2', ...)."""

    model: str
    verdict: str
    chosen: Choice | None
    how: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    choices: tuple[Choice, ...] = ()
    step: tuple[Part, ...] = ()  # seconds of one optimizer step
    hours: tuple[Part, ...] = ()
    dollars: tuple[Part, ...] = ()
    cells: tuple[Cell, ...] = ()
    changes: tuple[Change, ...] = ()
    advice: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    asked: tuple[tuple[str, str], ...] = ()
    limits: Limits = field(default_factory=Limits)
    goal: str = "tokens"  # tokens, steps, epochs, hours, dollars

    @property
    def bars(self) -> tuple[Choice, ...]:
        """Choices whose memory is known."""
        return tuple(choice for choice in self.choices if choice.memory is not None)

    @property
    def points(self) -> tuple[Choice, ...]:
        """Choices that run and have a time and a cost above zero: what a plot of cost against time can hold.

        None where hours or dollars are the goal: all have spent the same then, and differ in `bought`.
        """
        return tuple(
            choice
            for choice in self.choices
            if self.goal not in ("hours", "dollars") and choice.runs and above(choice.hours) and above(choice.dollars)
        )

    @property
    def bought(self) -> tuple[Part, ...]:
        """Tokens of every choice that runs where hours or dollars are the goal."""
        if self.goal not in ("hours", "dollars"):
            return ()
        return tuple(
            Part(choice.label, choice.tokens.value, choice.tokens.source)
            for choice in self.choices
            if choice.runs and choice.tokens and choice.tokens.value > 0
        )


def above(figure: Figure | None) -> bool:
    """There is one, and it is more than nothing."""
    return figure is not None and figure.value > 0
