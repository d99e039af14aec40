"""Weights, gradients and optimizer state on one GPU."""

from __future__ import annotations

from fleet.capacity.count import adapter_parameters
from fleet.capacity.memory.engines import Engine, moments
from fleet.capacity.memory.stage import Stage
from fleet.capacity.memory.term import Term
from fleet.capacity.setup import Setup
from fleet.capacity.widths import eight_bits, wide


def ranks(setup: Setup) -> int:
    """GPUs that share optimizer state, gradients and weights: data and context parallel ones."""
    return max(1, setup.gpus // (setup.tensor * setup.pipeline))


def divisor(setup: Setup, stage: int) -> int:
    """By what something that is cut from ZeRO stage `stage` on is divided."""
    return ranks(setup) if setup.zero >= stage else 1


def weights(setup: Setup, engine: Engine, stage: Stage) -> Term:
    """Between steps."""
    share = divisor(setup, 2 if engine.root else 3)  # FSDP keeps a shard even where gathered weights stay whole
    if setup.offload in ("parameters", "both"):
        return Term("weights", 0.0, "in the host's memory", "parallel.offload", "state")
    if setup.adapter is not None and setup.adapter.quantised:
        matrices = stage.matrices + (stage.head if engine.four_bit_head else 0.0)
        size = engine.four_bit * matrices + engine.weights * (stage.total - matrices)
        return Term("weights", size / share, "4 bits and scales; the rest in 16 bits", "parallel.zero", "state")
    if wide(setup.precision):
        return Term("weights", 4 * stage.total / share, f"4 B per parameter, {_cut(share)}", "parallel.zero", "state")
    size = engine.weights * (stage.total - stage.embedding) + _embedding(engine)[0] * stage.embedding
    return Term("weights", size / share, f"{engine.weights:g} B per parameter, {_cut(share)}", "parallel.zero", "state")


def optimizer(setup: Setup, engine: Engine, stage: Stage) -> Term:
    """Masters and moments."""
    share = divisor(setup, 1)
    if setup.adapter is not None:
        size = adapter_parameters(setup.shape, setup.adapter) * (engine.weights + 2 * engine.moment)
        return Term("optimizer", size / share, "adapters and their moments", "", "state")
    if setup.offload in ("optimizer", "both"):
        return Term("optimizer", 0.0, "in the host's memory", "parallel.offload", "state")
    matrix, rest = moments(setup, engine)
    spared = (2 * engine.moment - 2 * _embedding(engine)[2]) * stage.embedding
    size = matrix * stage.matrices + rest * (stage.total - stage.matrices) + engine.master * stage.total - spared
    words = f"{engine.master:g} B master, {matrix:g} B moments per parameter, {_cut(share)}"
    return Term("optimizer", size / share, words, "parallel.zero", "state")


def gradients(setup: Setup, engine: Engine, stage: Stage) -> Term:
    """When all of them exist."""
    if setup.adapter is not None:
        size = adapter_parameters(setup.shape, setup.adapter) * engine.gradients
        return Term("gradients", size, "of the adapters", "", "state")
    if setup.offload in ("optimizer", "both") and setup.zero >= 2:
        return Term("gradients", 0.0, "in the host's memory", "parallel.offload", "state")
    if setup.optimizer == "paged-adamw8bit":
        size = engine.gradients * max(stage.layer, stage.root)
        return Term("gradients", size, "used up as they are made: one layer's", "", "state")
    if kept_whole(setup, engine):
        size = engine.whole * stage.total
        return Term("gradients", size, "whole while micro-batches accumulate unsynchronised", "", "state")
    share = divisor(setup, 2)
    beside = engine.master and setup.zero == 1 and not wide(setup.precision)  # the 16-bit gradient beside the fp32 sum
    each = engine.gradients + (engine.weights if beside else 0)
    size = each * (stage.total - stage.embedding) + _embedding(engine)[1] / engine.gradients * each * stage.embedding
    return Term("gradients", size / share, f"{each:g} B per parameter, {_cut(share)}", "parallel.zero", "state")


def kept_whole(setup: Setup, engine: Engine) -> bool:
    """Micro-batches accumulate gradients that are cut only after the last one."""
    return engine.whole > 0 and setup.zero >= 2 and setup.accumulation > 1


def copies(setup: Setup, engine: Engine, stage: Stage) -> Term:
    """16-bit and FP8 copies of matrices from forward to backward."""
    if wide(setup.precision):
        return Term("copies", 0.0, f"none in {setup.precision}")
    fp8 = eight_bits(setup.precision)
    own = engine.copies
    if fp8 and setup.zero < 3:
        own = max(own, engine.fp8_copies) if engine.copies else engine.fp8_copies
    name = "FP8 copies" if fp8 else "16-bit copies"
    return Term(name, own * stage.matrices, f"{own:g} B per element of the blocks' matrices", "precision.name")


def _embedding(engine: Engine) -> tuple[float, float, float]:
    return engine.embedding or (engine.weights, engine.gradients, engine.moment)


def _cut(share: int) -> str:
    return f"over {share} GPUs" if share > 1 else "whole"
