"""Runs the user has measured, and how they correct a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log

from fleet.capacity.count import count
from fleet.capacity.setup import Setup
from fleet.capacity.shape import Shape
from fleet.capacity.speed.claims import least_seconds
from fleet.capacity.speed.step import per_gpu
from profiles.gpus import table

NEAREST = 3  # runs that are asked
DOUBT = 0.05  # weight of the prediction beside a run at no distance (weight 1)
OTHER_PRECISION = 1.0  # distance: as much as a width 2.7 times larger
OTHER_CUT = 0.5  # another engine, ZeRO stage, offload or checkpointing


@dataclass(frozen=True, slots=True)
class Measured:
    """One finished run. parameters, width and layers describe its shape; peak_bytes: per GPU, None: not known."""

    gpu: str  # key of the GPU table
    gpus: int
    precision: str
    shape: str
    parameters: int
    width: int
    layers: int
    length: int
    micro_batch: int
    engine: str
    zero: int
    offload: str
    checkpointing: str
    tokens_per_second_per_gpu: float
    peak_bytes: int | None
    source: str  # run folder's name, date


@dataclass(frozen=True, slots=True)
class Correction:
    """factor: times the prediction. trust: 0 (no run of this GPU) to 1 (the same setup was measured)."""

    factor: float
    trust: float
    runs: tuple[str, ...]


def calibration(setup: Setup, measured: Sequence[Measured]) -> tuple[float, str]:
    """(factor on the predicted tokens/s, which runs it comes from). (1.0, "") if none is of this GPU."""
    found = correction(setup, measured)
    return found.factor, ", ".join(found.runs)


def correction(setup: Setup, measured: Sequence[Measured]) -> Correction:
    """Measured over predicted of the nearest runs on the same GPU, drawn towards 1 the further away they are.

    Runs above what their GPU can compute at all are wrong somewhere and left out.
    """
    usable = [run for run in measured if run.gpu == setup.gpu.key and _possible(setup, run)]
    nearest = sorted(((distance(setup, run), run) for run in usable), key=lambda pair: pair[0])[:NEAREST]
    if not nearest:
        return Correction(1.0, 0.0, ())
    weights = [exp(-2 * apart) for apart, _ in nearest]
    logs = [log(run.tokens_per_second_per_gpu / per_gpu(as_setup(setup, run))) for _, run in nearest]
    drawn = sum(weight * each for weight, each in zip(weights, logs, strict=True)) / (sum(weights) + DOUBT)
    return Correction(exp(drawn), max(weights), tuple(run.source for _, run in nearest))


def distance(setup: Setup, run: Measured) -> float:
    """How unlike a run is: sums of |ln| of the ratios of width, length, GPUs and tokens at once, and of differences."""
    tokens, theirs = setup.micro_batch * setup.length, run.micro_batch * run.length
    far = abs(log(run.width / setup.shape.width)) + 0.3 * abs(log(run.length / setup.length))
    far += 0.1 * abs(log(run.gpus / setup.gpus)) + 0.1 * abs(log(theirs / tokens))
    far += 0.1 * abs(log(run.layers / setup.shape.layers))
    far += OTHER_PRECISION * (run.precision != setup.precision)
    same = (run.engine, run.zero, run.offload, run.checkpointing)
    ours = (setup.engine, setup.zero, setup.offload, setup.checkpointing)
    return far + OTHER_CUT * sum(a != b for a, b in zip(same, ours, strict=True))


def as_setup(setup: Setup, run: Measured) -> Setup:
    """What was measured; what a run does not record is taken as in `setup`."""
    cut = setup.tensor * setup.context_parallel * setup.pipeline <= run.gpus
    return replace(
        setup,
        shape=shape_of(setup.shape, run),
        gpu=table()[run.gpu],
        gpus=run.gpus,
        precision=run.precision,
        length=run.length,
        micro_batch=run.micro_batch,
        engine=run.engine,
        zero=run.zero,
        offload=run.offload,
        checkpointing=run.checkpointing,
        tensor=setup.tensor if cut else 1,
        context_parallel=setup.context_parallel if cut else 1,
        pipeline=setup.pipeline if cut else 1,
    )


def shape_of(like: Shape, run: Measured) -> Shape:
    """`like`, as wide and deep as the run's; its vocabulary whatever the run's parameters leave for it."""
    if (run.width, run.layers, run.parameters) == (like.width, like.layers, count(like).total):
        return like
    heads = max(1, round(run.width / max(1, like.head_dim)))
    grouped = max(1, like.heads // max(1, like.kv_heads))
    bare = replace(
        like,
        name=run.shape,
        width=run.width,
        layers=run.layers,
        heads=heads,
        kv_heads=max(1, heads // grouped),
        ffn=max(1, round(like.ffn * run.width / like.width)),
        vocab=0,
    )
    tables = (1 if like.tied else 2) * run.width
    return replace(bare, vocab=max(1, round((run.parameters - count(bare).total) / tables)))


def _possible(setup: Setup, run: Measured) -> bool:
    rate = run.tokens_per_second_per_gpu
    if rate <= 0 or min(run.width, run.layers, run.length, run.micro_batch, run.gpus) < 1 or run.gpu not in table():
        return False
    if table()[run.gpu].peak_for(run.precision) is None:
        return False
    theirs = as_setup(setup, run)
    return theirs.data_parallel >= 1 and rate * least_seconds(theirs.shape, theirs.gpu, run.precision, run.length) < 1
