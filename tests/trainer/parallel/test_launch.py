"""The launcher of ranks: its signals, its exit codes, and whose error is shown. The ranks here need no torch."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

WAITS = """
import os, sys, time, signal
from pathlib import Path
here = Path(os.environ["HERE"])
def stop(number, frame):
    with open(here / f"{os.environ['RANK']}.got", "a") as file:
        file.write(f"{number} ")
    if number == signal.SIGTERM:
        sys.exit(75)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, stop)
(here / f"{os.environ['RANK']}.pid").write_text(str(os.getpid()))
while True:
    time.sleep(0.02)
"""


def wait_for(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def pids(folder: Path, ranks: int) -> list[int]:
    files = [folder / f"{rank}.pid" for rank in range(ranks)]
    wait_for(lambda: all(file.exists() and file.read_text() for file in files))
    return [int(file.read_text()) for file in files]


def gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return True
    return state == "Z"


def test_each_rank_is_told_its_place_and_only_rank_0_speaks_on_standard_output(launcher):
    program = """
import os, sys
names = "RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE MASTER_ADDR".split()
print(*[os.environ[name] for name in names], int(os.environ["MASTER_PORT"]) > 0, flush=True)
"""
    out, err = launcher(program, 3).communicate(timeout=20)
    assert out == "0 0 3 3 127.0.0.1 True\n"
    assert err == ""


@pytest.mark.parametrize(
    ("codes", "expected"),
    [((0, 0), 0), ((75, 75), 75), ((0, 75), 75), ((0, 2), 2), ((4, 4), 4), ((-9, 0), 3), ((75, -11), 3)],
)
def test_the_exit_code_is_that_of_the_ranks(launcher, codes, expected):
    program = f"""
import os, signal
code = {codes}[int(os.environ["RANK"])]
os.kill(os.getpid(), -code) if code < 0 else os._exit(code)
"""
    process = launcher(program, 2)
    process.communicate(timeout=20)
    assert process.returncode == expected


def test_the_failed_rank_is_named_with_its_own_last_words(launcher):
    program = """
import os, sys, time
if os.environ["RANK"] == "1":
    print("disk on fire", file=sys.stderr)
    sys.exit(3)
time.sleep(60)
"""
    began = time.monotonic()
    process = launcher(program, 2)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert err.splitlines() == ["trainer: rank 1 ended with exit code 3:", "  disk on fire"]
    assert time.monotonic() - began < 20


def test_a_rank_killed_from_outside_ends_the_others_and_is_blamed(launcher, tmp_path):
    process = launcher(WAITS, 2, HERE=str(tmp_path))
    first, second = pids(tmp_path, 2)
    os.kill(second, signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "rank 1 ended with SIGKILL" in err
    assert gone(first)


def test_a_rank_that_ignores_its_end_is_killed(launcher, tmp_path):
    stubborn = WAITS.replace("sys.exit(75)", "pass")
    process = launcher(stubborn, 2, HERE=str(tmp_path))
    first, second = pids(tmp_path, 2)
    os.kill(second, signal.SIGKILL)
    process.communicate(timeout=30)
    assert gone(first)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_a_signal_reaches_every_rank_once(launcher, tmp_path, number):
    process = launcher(WAITS, 2, HERE=str(tmp_path))
    pids(tmp_path, 2)
    process.send_signal(number)
    got = [tmp_path / "0.got", tmp_path / "1.got"]
    wait_for(lambda: all(file.exists() and file.read_text() for file in got))
    time.sleep(0.2)
    assert [file.read_text() for file in got] == [f"{int(number)} "] * 2
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 75  # they stopped early, and can go on


def test_a_killed_launcher_takes_its_ranks_along(launcher, tmp_path):
    process = launcher(WAITS, 2, HERE=str(tmp_path))
    ranks = pids(tmp_path, 2)
    process.kill()
    process.wait(timeout=10)
    wait_for(lambda: all(gone(pid) for pid in ranks))


def test_a_port_taken_meanwhile_is_no_failure(launcher, tmp_path):
    program = """
import os, sys
from pathlib import Path
from trainer.parallel import port
tries = Path(os.environ["HERE"], "tries")
if os.environ["RANK"] == "0":
    with tries.open("a") as file:
        file.write(os.environ["MASTER_PORT"] + " ")
    if len(tries.read_text().split()) == 1:
        assert port.tell_taken("The server socket has failed to listen (errno: 98 - Address already in use).")
        sys.exit(3)
"""
    process = launcher(program, 2, HERE=str(tmp_path))
    _, err = process.communicate(timeout=40)
    assert process.returncode == 0
    assert err == ""
    assert len((tmp_path / "tries").read_text().split()) == 2


def test_a_signal_that_came_before_anything_was_started_starts_nothing(tmp_path):
    from trainer.parallel.launch import launch

    mark = tmp_path / "started"
    assert launch([], 2, [sys.executable, "-c", f"open({str(mark)!r}, 'w')"], asked=lambda: "SIGTERM") == 75
    assert not mark.exists()


def test_a_rank_that_waits_for_one_that_was_stopped_early_is_ended(monkeypatch, tmp_path):
    """Rank 0 was stopped before it met the others; they would wait for it for parallel.timeout."""
    from trainer.parallel import launch as launching

    monkeypatch.setattr(launching, "PARTED", 0.3)
    script = (
        "import os, pathlib, signal, sys, time\n"
        f"ready = pathlib.Path({str(tmp_path / 'ready')!r})\n"
        "first = os.environ['RANK'] == '0'\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75) if first else None)\n"
        "first or ready.touch()\n"
        "while not ready.exists(): time.sleep(0.01)\n"
        "first and os.kill(os.getppid(), signal.SIGTERM)\n"
        "while True: time.sleep(0.01)\n"
    )
    assert launching.launch([], 2, [sys.executable, "-c", script], grace=0.3) == 75
