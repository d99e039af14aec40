"""A setup with a speed that is given, so that what follows from it can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.capacity.families import nanochat
from fleet.capacity.figure import Figure
from fleet.capacity.setup import Setup
from fleet.capacity.shape import Shape
from fleet.capacity.speed.speed import Speed
from profiles.gpus import gpu
from tests.fleet.capacity.finish.trained_run import train

# seeds.md S1: "1B", n_embd 1536, n_layer 24, vocabulary 50000, tied: 759,905,280 parameters (C10)
GPT2 = Shape(
    "gpt2-0.76b", 24, 1536, 24, 24, 64, 6144, 50000, 2048,
    tied=True, learned_positions=True, bias="all", norm_vectors=2,
)  # fmt: skip
D64 = nanochat(64, vocab=32, value_embeddings=False)  # seeds.md S2: "~4.3B", 12.9B


@pytest.fixture
def gpt2() -> Shape:
    return GPT2


@pytest.fixture
def d64() -> Shape:
    return D64


@pytest.fixture
def setup() -> Setup:
    """8 x H100, 1,048,576 tokens a step."""
    return Setup(GPT2, gpu("h100-sxm"), 8, 2048, 16, 4)


@pytest.fixture
def at():
    """A speed of so many tokens/s per GPU on 8 of them, give or take a share."""

    def make(per_gpu: float, gpus: int = 8, spread: float = 0.15) -> Speed:
        def figure(value: float) -> Figure:
            return Figure(value, "tokens/s", "given", value * (1 - spread), value * (1 + spread))

        none = Figure(0.0, "percent", "not used here")
        return Speed(figure(per_gpu), figure(per_gpu * gpus), none, none, none, 0.0, {}, per_gpu, [])

    return make


@pytest.fixture
def usd():
    """A price per GPU-hour."""
    return lambda value: Figure(float(value), "USD per GPU-hour", "--price")


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run folder that the real trainer writes on this CPU; by optimizer, made once."""
    made: dict[str, Path] = {}

    def run(optimizer: str) -> Path:
        if optimizer not in made:
            made[optimizer] = train(tmp_path_factory.mktemp("runs") / optimizer, optimizer)
        return made[optimizer]

    return run
