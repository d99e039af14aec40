"""Joining the ranks, and their collectives."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from trainer.config import Config, Train
from trainer.errors import TrainerError
from trainer.parallel import port

PLACE = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "h", "MASTER_PORT": "1"}


@pytest.fixture
def world(torch):
    return pytest.importorskip("trainer.parallel.world")


def test_a_process_without_a_launcher_is_alone_and_needs_no_group(torch, world, monkeypatch):
    for name in world.GIVEN:
        monkeypatch.delenv(name, raising=False)
    alone = world.join(Config(train=Train(device="cpu")))
    assert (alone.rank, alone.size, alone.backend, alone.first) == (0, 1, "", True)
    assert not torch.distributed.is_initialized()
    assert (alone.mean(2.5), alone.max(-1.0), alone.any(False), alone.any(True)) == (2.5, -1.0, False, True)
    assert (alone.gather("a"), alone.broadcast("b")) == (["a"], "b")
    tensor = torch.tensor([1.0, 2.0])
    total = alone.sum(tensor)
    total += 1
    assert tensor.tolist() == [1.0, 2.0]  # the sum is a new tensor
    alone.barrier()
    alone.same("anything")
    alone.leave()


@pytest.mark.parametrize("missing", ["RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_half_a_set_of_variables_is_an_error_that_names_the_rest(world, missing):
    given = {name: value for name, value in PLACE.items() if name != missing}
    with pytest.raises(TrainerError, match=f"but not {missing}$") as caught:
        world._place(given)
    assert "torchrun" in caught.value.next_step


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"RANK": "4"}, "do not fit"),
        ({"RANK": "-1"}, "do not fit"),
        ({"LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "2"}, "do not fit"),
        ({"LOCAL_SIZE": "8"}, "do not fit"),
        ({"RANK": "one"}, "whole numbers"),
    ],
)
def test_ranks_that_cannot_be_are_refused(world, changed, words):
    with pytest.raises(TrainerError, match=words):
        world._place({**PLACE, **changed})


def test_the_number_of_ranks_on_a_host_comes_from_torchrun_or_deepspeed_or_is_all_of_them(world):
    assert world._place({**PLACE, "LOCAL_WORLD_SIZE": "2"}) == (1, 4, 1, 2)
    assert world._place({**PLACE, "LOCAL_SIZE": "2"}) == (1, 4, 1, 2)
    assert world._place(PLACE) == (1, 4, 1, 4)


def test_more_ranks_than_gpus_is_a_clear_error(torch, world, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(TrainerError, match="4 ranks on this host, but only 2 GPUs"):
        world._device("auto", 0, 4)


def test_cuda_without_a_gpu_is_a_clear_error(torch, world, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainerError, match="torch sees no GPU"):
        world._device("cuda", 0, 1)
    assert world._device("auto", 0, 1).type == "cpu"


@pytest.mark.parametrize(
    ("version", "binds"),
    [("2.5.0a0+e000cf0ad9", True), ("2.6.0", True), ("2.6.1", False), ("2.7.0a0+7c8ec84dab", False), ("2.7.1", True),
     ("2.10.0", True), ("2.13.0+cpu", True)],
)  # fmt: skip
def test_nccl_is_bound_to_its_device_except_where_that_hangs(world, version, binds):
    assert world._binds_devices(version) is binds


RANKS = """
import json, os, sys, threading, torch
from trainer.config import Config, Parallel, Train
from trainer.errors import TrainerError
from trainer.parallel.world import join
os.environ.pop("OMP_NUM_THREADS", None)
config = Config(train=Train(device="cpu"), parallel=Parallel(timeout=20))
world = join(config)
rank = world.rank
own = torch.tensor([rank, 1.5])
seen = {"sum": world.sum(own).tolist(), "own": own.tolist(), "mean": world.mean(rank), "max": world.max(-rank),
        "any": [world.any(rank == 1), world.any(False)], "gather": world.gather({"r": rank}),
        "broadcast": world.broadcast(["from", rank]), "backend": world.backend, "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0))}
world.barrier()
world.same("the same")
try:
    world.same(f"seed {rank if rank == 2 else 0}")
except TrainerError as error:
    seen["same"] = error.what
seen = world.gather(seen)
if world.first:
    print(json.dumps(seen))
world.leave()
"""


@pytest.mark.slow
def test_collectives_agree_on_three_ranks(launcher):
    out, err = launcher(RANKS, 3).communicate(timeout=60)
    seen = json.loads(out), err
    for rank, values in enumerate(seen[0]):
        assert values["sum"] == [3.0, 4.5]
        assert values["own"] == [rank, 1.5]
        assert (values["mean"], values["max"], values["any"]) == (1.0, 0.0, [True, False])
        assert values["gather"] == ([{"r": 0}, {"r": 1}, {"r": 2}] if rank == 0 else [])
        assert values["broadcast"] == ["from", 0]
        assert values["backend"] == "gloo"
        assert values["threads"] == max(1, values["cores"] // 3)
        assert values["same"] == "rank 2 started with another configuration than rank 0"


DIES = """
import os, signal, sys, time
from pathlib import Path
from trainer.config import Config, Parallel, Train
from trainer.parallel.world import join
world = join(Config(train=Train(device="cpu"), parallel=Parallel(timeout=600)))
try:
    for step in range(10**6):
        world.barrier()
        time.sleep(0.01)
        if step == 20 and world.rank == 1:
            if os.environ["WAY"] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("rank 1 has lost its data")
except BaseException as error:
    print(f"rank {world.rank}: {error}"[:200], file=sys.stderr)
    world.abort(3)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["kill", "raise"])
def test_a_rank_that_dies_in_a_collective_ends_the_run_within_seconds(launcher, way):
    began = time.monotonic()
    process = launcher(DIES, 2, WAY=way)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    expected = "rank 1 ended with SIGKILL" if way == "kill" else "rank 1: rank 1 has lost its data"
    assert expected in err
    assert time.monotonic() - began < 30


@pytest.mark.slow
def test_under_torchrun_a_dying_rank_does_not_hang_the_other(tmp_path, environment):
    program = tmp_path / "program.py"
    program.write_text(DIES)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)],
        env={**environment, "WAY": "kill"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode != 0
    assert "Signal 9" in done.stderr or "exitcode  : -9" in done.stderr
    assert time.monotonic() - began < 60


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torchrun", "deepspeed"])
def test_the_common_launchers_place_the_ranks(kind, tmp_path, environment):
    program = tmp_path / "program.py"
    program.write_text(
        RANKS.replace("print(json.dumps(seen))", f'open("{tmp_path}/seen", "w").write(json.dumps(seen))')
    )
    world_info = "eyJsb2NhbGhvc3QiOiBbMCwgMV19"  # {"localhost": [0, 1]}
    commands = {
        "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
        "deepspeed": ["deepspeed.launcher.launch", f"--world_info={world_info}", "--master_addr=127.0.0.1",
                      f"--master_port={port.free()}", "--no_local_rank"],
    }  # fmt: skip
    pytest.importorskip("deepspeed")
    done = subprocess.run(
        [sys.executable, "-m", *commands[kind], str(program)],
        env={**environment, "DS_ACCELERATOR": "cpu"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads((tmp_path / "seen").read_text())
    assert [values["sum"] for values in seen] == [[1.0, 3.0]] * 2


@pytest.mark.slow
def test_ranks_that_never_come_are_missed_in_time(environment):
    program = """
from trainer.config import Config, Parallel, Train
from trainer.errors import TrainerError
from trainer.parallel.world import join
try:
    join(Config(train=Train(device="cpu"), parallel=Parallel(timeout=1)))
except TrainerError as error:
    print(error.what, error.exit_code)
"""
    place = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, **place, "MASTER_PORT": str(port.free())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("rank 0 of 2 could not meet the others at 127.0.0.1:"), done.stderr
    assert done.stdout.strip().endswith("3")


@pytest.mark.slow
def test_a_port_that_is_taken_is_reported_to_our_launcher(environment, tmp_path):
    import socket

    program = """
from trainer.config import Config, Parallel, Train
from trainer.parallel.world import join
join(Config(train=Train(device="cpu"), parallel=Parallel(timeout=5)))
"""
    place = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", port.FOLDER: str(tmp_path)}
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::", 0))
        taken.listen()
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**environment, **place, "MASTER_PORT": str(taken.getsockname()[1])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert "the port of rank 0 was taken meanwhile" in done.stderr
    assert (tmp_path / port.TAKEN).exists()


WAITS = """
import time
from trainer.config import Config, Parallel, Train
from trainer.parallel.world import join
world = join(Config(train=Train(device="cpu"), parallel=Parallel(timeout=2)))
for late in (0, 1):
    if world.rank == late:
        time.sleep(4)
    world.barrier()
print(world.max(world.rank))
world.leave()
"""


@pytest.mark.slow
def test_a_rank_that_writes_for_long_is_waited_for_beyond_the_timeout_of_collectives(launcher):
    out, err = launcher(WAITS, 2).communicate(timeout=60)
    assert out.strip() == "1.0", err
