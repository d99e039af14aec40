"""Where the hours go: parts that add up to the total, by a number of steps and a case. Never less for more steps."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.capacity.figure import Figure
from fleet.capacity.finish.cadence import Cadence
from fleet.capacity.finish.disk import dataset_bytes, transfer_seconds
from fleet.capacity.finish.estimate import Case, Cases
from fleet.capacity.finish.habits import Habits
from profiles.errors import CheckFailed

FIRST = 2e9  # bytes of shards that streaming waits for before the first step
FORWARD = 1 / 3  # of a training token's FLOPs: the backward costs two forwards (Kaplan et al., arXiv 2001.08361)
SOURCES = {
    "boot": "the machine starts, 1 to 5 minutes by providers' own words",
    "image": "pulled over the link, then unpacked",
    "data": "what must be there before the first step",
    "compile": "first step and compile: 7 minutes at modded-nanogpt, less for one block compiled once; assumed",
    "training": "steps x tokens of a step / predicted tokens/s",
    "evaluation": "validation tokens at a third of a training token's cost",
    "saves": "stalls: a GPU's share over PCIe, every {seconds:,.0f} s",
    "last checkpoint": "the last one is written and uploaded before the machine goes",
    "interruptions": "work since the last remote-complete checkpoint + restart, once every mean time between failures",
}


@dataclass(frozen=True, slots=True)
class Work:
    """What the hours depend on beside the case. step_tokens: of one optimizer step; vocab decides the data's bytes."""

    step_tokens: int
    vocab: int
    dataset_tokens: float
    habits: Habits
    cadence: Cadence

    def data_bytes(self, steps: int) -> float:
        """Of the dataset; one pass over as much as is trained on when nobody says its size."""
        return dataset_bytes(self.dataset_tokens or steps * self.step_tokens, self.vocab)


def seconds(work: Work, case: Case, steps: int) -> dict[str, float]:
    """Seconds by part; they add up to the whole. Raises CheckFailed where interruptions leave no time to train."""
    habits, chosen = work.habits, work.cadence
    training = steps * work.step_tokens / case.rate
    evaluations = steps // habits.evaluate_every if habits.evaluate_every else 0
    parts = {
        "boot": case.boot,
        "image": case.image,
        "data": _data(work, case, steps),
        "compile": case.compile,
        "training": training,
        "evaluation": evaluations * habits.evaluate_tokens * FORWARD / case.rate,
        "saves": steps / chosen.steps * case.stall,
        "last checkpoint": case.write + case.upload,
    }
    interval = chosen.steps * work.step_tokens / case.rate
    lost = min(interval, training) / 2 + case.write + case.upload + case.restart
    parts["interruptions"] = _lost(sum(parts.values()), lost, case)
    return parts


def figures(work: Work, cases: Cases, steps: int) -> tuple[dict[str, Figure], Figure, Figure]:
    """Hours by part, all of them, and the goodput: the share of paid time in steps that survive."""
    expected = seconds(work, cases.expected, steps)
    slow, fast = seconds(work, cases.slow, steps), seconds(work, cases.fast, steps)
    parts = {}
    for name, value in expected.items():
        source = SOURCES[name].format(seconds=work.cadence.seconds)
        told = [one / 3600 for one in (fast[name], value, slow[name])]
        parts[name] = Figure(told[1], "h", source, min(told), max(told))
    total = Figure(
        sum(part.value for part in parts.values()),
        "h",
        "sum of the parts",
        sum(part.low or 0.0 for part in parts.values()),
        sum(part.high or 0.0 for part in parts.values()),
    )
    shares = [one["training"] / sum(one.values()) for one in (slow, expected, fast)]
    goodput = Figure(shares[1], "share of paid time", "training / total", min(shares), max(shares))
    return parts, total, goodput


def _data(work: Work, case: Case, steps: int) -> float:
    habits, size = work.habits, work.data_bytes(steps)
    tokens = work.dataset_tokens or steps * work.step_tokens
    prepared = tokens / habits.tokenize_rate if habits.tokenize_rate else 0.0
    if habits.data == "there" or habits.tokenize_rate:
        return prepared
    waited = size if habits.data == "download" else min(size, FIRST)
    return case.link * transfer_seconds(waited, habits.down_mbit)


def _lost(work: float, each: float, case: Case) -> float:
    """Of T = work + T x each / mtbf: interruptions also come while the lost work is done again."""
    share = min(each / case.mtbf, case.most_lost)
    if share >= 1:
        raise CheckFailed(
            f"an interruption every {case.mtbf / 3600:.2g} h, and each costs {each / 3600:.2g} h: this never ends",
            "take on-demand machines, fewer of them, or a faster link for image and checkpoints",
        )
    return work * share / (1 - share)
