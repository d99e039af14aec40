"""Muon's work shared out over ranks: the same bits as one rank doing it all."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as some

pytest.importorskip("torch")
import torch

from trainer.optim.share import rounds

STEPS = """
import sys
import torch
import torch.distributed as dist
from trainer.config import Optim
from trainer.optim import build

rank, ranks, port, file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
torch.set_num_threads(1)
if ranks > 1:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=ranks)
generator = torch.Generator().manual_seed(0)
shapes = [(24, 8), (8, 24), (24, 8), (8, 8), (16, 8), (24, 8)]
names = [f"blocks.{n}.mlp.up.weight" for n in range(5)] + ["blocks.5.attention.qkv.weight"]
weights = {n: torch.nn.Parameter(torch.randn(s, generator=generator)) for n, s in zip(names, shapes)}
weights["head.weight"] = torch.nn.Parameter(torch.randn(4, 8, generator=generator))
optimizer = build(weights.items(), Optim(name="muon"), "ddp", torch.device("cpu"), rank=rank, ranks=ranks)
for step in range(3):
    for weight in weights.values():
        weight.grad = torch.randn(weight.shape, generator=generator)
    optimizer.step()
torch.save({"weights": dict(weights), "state": optimizer.state_dict()}, f"{file}-{rank}.pt")
"""


@given(some.lists(some.sampled_from([(4, 8), (8, 4), (4, 4)]), max_size=30), some.integers(1, 8))
def test_each_matrix_is_in_one_round_of_its_shape(shapes, ranks):
    matrices = [torch.empty(shape, device="meta") for shape in shapes]
    found = rounds(matrices, ranks)
    assert sorted(number for same in found for number in same) == list(range(len(shapes)))
    assert all(len(same) <= ranks and len({shapes[number] for number in same}) == 1 for same in found)
    assert len(found) == sum(-(-shapes.count(shape) // ranks) for shape in set(shapes))


@pytest.mark.slow
def test_ranks_that_share_the_matrices_end_with_the_bits_of_one_rank(tmp_path, environment):
    ranks = 3  # of four matrices of one shape: a full round, and one with two empty places
    run_ranks(environment, tmp_path / "one", 1)
    run_ranks(environment, tmp_path / "many", ranks)
    alone = torch.load(tmp_path / "one-0.pt")
    for rank in range(ranks):
        shared = torch.load(tmp_path / f"many-{rank}.pt")
        assert all(torch.equal(alone["weights"][name], weight) for name, weight in shared["weights"].items())
        for number, kept in alone["state"]["state"].items():
            assert all(torch.equal(kept[key], value) for key, value in shared["state"]["state"][number].items())


def run_ranks(environment, file, ranks):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", STEPS, str(rank), str(ranks), str(port), str(file)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    for process in started:
        _, words = process.communicate(timeout=60)
        assert process.returncode == 0, words
