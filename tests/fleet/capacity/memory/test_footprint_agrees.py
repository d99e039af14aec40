"""The trainer's advice and the planner count by the same formulas, though neither imports the other."""

from __future__ import annotations

import dataclasses

import pytest

from fleet.capacity.families import of_family
from fleet.capacity.memory import activations, logits, rest, states
from fleet.capacity.memory.constants import WORKSPACE
from fleet.capacity.memory.engines import engine_of
from fleet.capacity.memory.memory import memory
from fleet.capacity.memory.stage import stages
from fleet.capacity.setup import Setup
from profiles.gpus import gpu
from trainer.config.presets import PRESETS, configured, preset
from trainer.optim import footprint

GPUS, MICRO, GATE = 8, 2, 0.01
MODES = ("none", "selective", "full")
CASES = [(mode, zero, compiled) for mode in MODES for zero in (0, 1, 2, 3) for compiled in (False, True)]


def asked(name, mode, zero, compiled, precision="", offload="none"):
    """The same run in the trainer's words and in the planner's: two micro-batches a step on each of eight GPUs."""
    config = configured(preset(name))
    config.precision.name = precision or config.precision.name.replace("auto", "bf16")
    config.parallel = dataclasses.replace(config.parallel, zero=zero, offload=offload)
    config.train = dataclasses.replace(config.train, checkpointing=mode, compile=compiled, batch=2 * MICRO * GPUS)
    config.optim.name = "adamw" if zero else config.optim.name  # Muon's state is never cut
    one = config.model
    sizes = {"kv_heads": one.kv_heads, "ffn": one.ffn, "tied": one.tied}
    setup = Setup(
        of_family(one.family, one.layers, one.width, one.heads, one.vocab, one.context, **sizes),
        gpu("h100-sxm"),
        GPUS,
        one.context,
        MICRO,
        accumulation=2,
        precision=config.precision.name,
        engine="zero" if zero else "ddp",
        zero=zero,
        offload=offload,
        checkpointing=mode,
        optimizer=config.optim.name,
        loss_chunk=config.train.loss_chunk,
        compile=compiled,
    )
    return config, setup


def planned(setup):
    """The planner's terms under the trainer's names."""
    engine, (stage,) = engine_of(setup), stages(setup)
    tokens = setup.micro_batch * setup.length
    beside = [states.copies(setup, engine, stage), *rest.gathered(setup, engine, stage), *rest.buckets(setup, engine)]
    held = (states.weights, states.gradients, states.optimizer)
    return {
        "state": sum(part(setup, engine, stage).bytes for part in held),
        "copies": sum(term.bytes for term in beside),
        "activations": sum(activations.kept(setup, engine).values()) * setup.shape.layers * tokens,
        "logits": sum(term.bytes for term in logits.loss(setup, engine, stage, tokens)),
    }


def advised(config):
    return {
        "state": footprint.state(config, GPUS),
        "copies": footprint.copies(config) + footprint.gathered(config, GPUS),
        "activations": footprint.activations(config, MICRO),
        "logits": footprint.logits(config, MICRO),
    }


@pytest.mark.parametrize("name", PRESETS)
def test_every_term_is_the_planners(name):
    for case in CASES:
        config, setup = asked(name, *case)
        assert advised(config) == pytest.approx(planned(setup), rel=GATE), case


@pytest.mark.parametrize("name", PRESETS)
def test_their_sum_is_the_planners_peak(name):
    """Without what cuBLAS takes, and Muon's or a first layer's passing needs, which never are the peak here."""
    for case in CASES:
        config, setup = asked(name, *case)
        ours = sum(footprint.footprint(config, MICRO, GPUS).values())
        assert ours == pytest.approx(memory(setup).allocated - WORKSPACE, rel=GATE), case


@pytest.mark.parametrize("precision", ["fp16", "fp8-current", "mxfp8"])
def test_the_precision_changes_both_alike(precision):
    for case in CASES:
        config, setup = asked("llama-1b", *case, precision=precision)
        assert advised(config) == pytest.approx(planned(setup), rel=GATE), case


@pytest.mark.parametrize(
    ("zero", "offload"), [(1, "optimizer"), (2, "optimizer"), (3, "optimizer"), (3, "parameters"), (3, "both")]
)
def test_offloading_takes_the_same_from_both(zero, offload):
    config, setup = asked("llama-1b", "none", zero, False, offload=offload)
    assert advised(config) == pytest.approx(planned(setup), rel=GATE)
