"""Bytes per parameter of the trainer's DeepSpeed engine, counted in a real process after a real step."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.capacity.count import count
from fleet.capacity.families import of_family
from fleet.capacity.memory import states
from fleet.capacity.memory.engines import engine_of
from fleet.capacity.memory.stage import stages
from fleet.capacity.setup import Setup
from profiles.gpus import gpu

pytest.importorskip("deepspeed")

ROOT = Path(__file__).resolve().parents[4]
LAYERS, WIDTH, HEADS, VOCAB, LENGTH = 2, 512, 8, 2048, 64

COUNTED = """
import gc, sys, torch
import trainer.optim
from trainer import config
from trainer.model.gpt import GPT
from trainer.parallel.world import World
from trainer.parallel.zero import Zero
from trainer.precision.plain import Plain
from trainer.precision.resolved import Resolved

chosen = config.Config(model=config.Model(
    family="llama", layers={layers}, width={width}, heads={heads}, context={length}, vocab={vocab}))
chosen.parallel.zero, chosen.parallel.engine, chosen.parallel.bucket_mb = {stage}, "deepspeed", 1
backend = Plain(Resolved("bf16", "plain", "a test", "cpu"))
model = GPT(chosen.model, backend, "sdpa", "none", 64)
world = World(0, 1, 0, 1, torch.device("cpu"), "gloo")
engine = Zero(chosen, "bf16", world, model, backend,
    lambda named: trainer.optim.build(list(named), chosen.optim, "deepspeed", world.device, zero={stage}))
tokens = torch.randint(0, {vocab}, (1, {length}))
for last in (False, True):
    engine.micro(tokens, tokens, 1 / {length}, last)
engine.step(1.0)
engine.micro(tokens, tokens, 1 / {length}, False)
gc.collect()
storages = {{}}
for thing in gc.get_objects():
    if type(thing) in (torch.Tensor, torch.nn.Parameter):
        for tensor in (thing, thing.grad if thing.is_leaf else None):
            if tensor is not None:
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
print("BYTES", sum(storages.values()))
"""


def counted(stage: int) -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sizes = {"layers": LAYERS, "width": WIDTH, "heads": HEADS, "length": LENGTH, "vocab": VOCAB}
    script = COUNTED.format(stage=stage, **sizes)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    env = {**os.environ, **place, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("BYTES")]
    assert lines, done.stderr[-2000:]
    return int(lines[0].split()[1])


@pytest.mark.slow
@pytest.mark.parametrize("stage", (1, 2, 3))
def test_every_stage_holds_the_bytes_per_parameter_that_the_planner_counts(stage):
    """Stage 1 keeps bf16 gradients beside their fp32 sum (BF16_Optimizer); 2 and 3 only the sum."""
    shape = of_family("llama", LAYERS, WIDTH, HEADS, VOCAB, LENGTH)
    setup = Setup(shape, gpu("h100-sxm"), 1, LENGTH, 1, accumulation=2, engine="zero", zero=stage)
    engine, part = engine_of(setup), stages(setup)[0]
    ours = sum(one(setup, engine, part).bytes for one in (states.weights, states.gradients, states.optimizer))
    assert ours / count(shape).total == (20 if stage == 1 else 18)
    assert counted(stage) == pytest.approx(ours, rel=0.02)
