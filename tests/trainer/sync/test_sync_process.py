"""The process beside the training: it sends what is new, outlives what fails, ends what is stuck, and ends in order."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.trainer.sync.making import damage, names, save, shown, start
from trainer.sync import status

LONG = 60.0
FOREVER = {"every": 3600.0}
SIZE = 300_000  # bytes of weights in each of two files; a checkpoint has 1.8 MB


@pytest.fixture
def there(tmp_path):
    return tmp_path / "there"


@pytest.fixture
def sync(tmp_path, there, environment):
    """Starts one for tmp_path/run; all that are left are killed at the end."""
    started = []

    def begin(passes=(), **wishes) -> subprocess.Popen[str]:
        asked = json.dumps({"wishes": wishes, "passes": passes})
        command = [sys.executable, "-m", "tests.trainer.sync.syncing", str(tmp_path / "run"), f"file://{there}", asked]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def said(tmp_path):
    return lambda: (tmp_path / "run/sync.log").read_text()


def until(true, what: str = "") -> None:
    deadline = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.02)


def there_now(tmp_path) -> list[str]:
    return status.read(tmp_path / "run").get("checkpoints", [])


def ended(process, seconds: float = LONG) -> int:
    process.wait(seconds)
    return process.returncode


def test_one_pass_sends_all_and_says_so_in_a_file(tmp_path, sync, there):
    run = start(tmp_path / "run", 10, 20)
    process = sync()
    assert ended(process) == 0
    content = status.read(run)
    assert content["remote"] == f"file://{there}" and content["checkpoints"] == names(20, 10)
    assert (content["state"], content["error"]) == ("idle", None)
    assert content["sent_bytes"] > 7000 and abs(content["time"] - time.time()) < LONG
    assert shown(there) == {"step-00000010": None, "step-00000020": None}


def test_it_loads_no_torch_and_is_last_in_every_queue(tmp_path, environment):
    start(tmp_path / "run", 10)
    code = (
        "import sys, os, argparse; from trainer.commands import sync\n"
        "parser = argparse.ArgumentParser(); sync.register(parser.add_subparsers())\n"
        f"options = parser.parse_args(['sync', 'run', '--to', '{tmp_path}/there'])\n"
        "print(sync.run(options), 'torch' in sys.modules, 'numpy' in sys.modules, os.nice(0))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 False False 19", done.stderr


def test_a_new_checkpoint_is_sent_at_once(tmp_path, sync):
    run = start(tmp_path / "run", 10)
    process = sync(**FOREVER)
    until(lambda: there_now(tmp_path) == names(10))
    save(run, 20)
    until(lambda: there_now(tmp_path) == names(20, 10))
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0


def test_a_stuck_transfer_is_ended_by_its_deadline_and_made_again(tmp_path, sync, there, said):
    start(tmp_path / "run", 10)
    process = sync([["ok"] * 3 + ["stall"], ["stall"]], stall=1.0)
    assert ended(process) == 0
    assert said().count("nothing moved for 1 s") == 2
    assert shown(there) == {"step-00000010": None}


def test_servers_that_fail_are_waited_out(tmp_path, sync, there, said):
    start(tmp_path / "run", 10)
    process = sync([["503"], ["ok"] * 3 + ["cut 0.5"], ["ok"] * 3 + ["429"]])
    assert ended(process) == 0
    assert "503 from the server" in said() and "connection was reset" in said()
    wait = next(line for line in said().splitlines() if "429" in line)
    assert float(wait.rpartition("again in ")[2].split()[0]) >= 1  # as the server asked


def test_a_bad_token_is_told_loudly_once_and_tried_again_slowly(tmp_path, sync, said):
    run = start(tmp_path / "run", 10)
    process = sync([["denied"]] * 3, **FOREVER)
    until(lambda: there_now(tmp_path) == names(10))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=LONG)
    assert output.count("401 bad token") == 1 and said().count("WARNING") == 3
    assert process.returncode == 0 and status.read(run)["error"] is None


def test_one_pass_with_a_bad_token_fails_at_once(tmp_path, sync):
    run = start(tmp_path / "run", 10)
    process = sync([["denied"]] * 9)
    assert ended(process) == 3
    assert status.read(run)["state"] == "failed" and "401" in status.read(run)["error"]


def test_one_pass_gives_up_after_some_failures(tmp_path, sync):
    start(tmp_path / "run", 10)
    assert ended(sync([["503"]] * 20)) == 3
    assert len((tmp_path / "run/passes").read_text()) == 5


def test_a_checkpoint_that_is_damaged_here_is_a_no(tmp_path, sync):
    run = start(tmp_path / "run", 10, 20)
    damage(run / "checkpoints/step-00000020")
    assert ended(sync()) == 1
    assert there_now(tmp_path) == names(10)


def test_sigterm_in_a_transfer_that_ends_in_time_lets_it_end(tmp_path, sync, there):
    start(tmp_path / "run", 10, size=SIZE)
    process = sync(**FOREVER, rate=1.5e6, grace=LONG)
    until(lambda: status.read(tmp_path / "run").get("state") == "sending")
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 0 and shown(there) == {"step-00000010": None}


def test_sigterm_in_a_transfer_that_takes_too_long_ends_it_and_it_can_go_on(tmp_path, sync, there):
    start(tmp_path / "run", 10, size=SIZE)
    process = sync(**FOREVER, rate=1.5e5, grace=0.5)
    until(lambda: any(there.glob("checkpoints/step-00000010/[or]*")), "a first file")
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 75 and shown(there) == {}
    kept = {path.name: path.stat().st_ino for path in there.glob("checkpoints/step-00000010/[or]*")}
    assert ended(sync()) == 0 and shown(there) == {"step-00000010": None}
    after = {path.name: path.stat().st_ino for path in there.glob("checkpoints/step-00000010/[or]*")}
    assert kept.items() <= after.items()  # not sent again


def test_asked_for_a_last_pass_it_sends_what_is_new_and_ends(tmp_path, sync, there):
    run = start(tmp_path / "run", 10)
    process = sync(**FOREVER)
    until(lambda: there_now(tmp_path) == names(10))
    with (run / "training.log").open("a") as log:
        log.write("the end\n")
    process.send_signal(signal.SIGUSR1)
    assert ended(process) == 0
    assert (there / "run/training.log").read_text().endswith("the end\n")


def test_it_ends_after_a_last_pass_when_its_parent_is_gone(tmp_path, sync, there):
    run = start(tmp_path / "run", 10)
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    process = sync(**FOREVER, parent=parent.pid)
    until(lambda: there_now(tmp_path) == names(10))
    parent.kill()  # and stays a zombie, as nobody waits for it
    (run / "training.log").write_text("its last words\n")
    assert ended(process) == 0
    assert (there / "run/training.log").read_text() == "its last words\n"
    parent.wait()


def test_it_ends_when_the_run_folder_is_gone(tmp_path, sync, there):
    run = start(tmp_path / "run", 10)
    process = sync(**FOREVER)
    until(lambda: there_now(tmp_path) == names(10))
    run.rename(tmp_path / "elsewhere")
    assert ended(process) == 3
    assert shown(there) == {"step-00000010": None}


@pytest.mark.slow
def test_only_one_at_a_time_for_a_run_and_a_url(tmp_path, sync, trainer):
    start(tmp_path / "run", 10)
    first = sync(**FOREVER)
    until(lambda: there_now(tmp_path) == names(10))
    second = sync()
    output, _ = second.communicate(timeout=LONG)
    assert "another process is syncing" in output
    first.kill()
    first.wait()
    assert ended(sync()) == 0  # the kernel let go


@pytest.mark.slow
def test_the_rate_is_held_roughly(tmp_path, sync):
    start(tmp_path / "run", 10, size=SIZE)
    begin = time.monotonic()
    assert ended(sync(rate=0.6e6)) == 0
    assert time.monotonic() - begin > 1.5  # 1.8 MB, of which the first second's worth may go at once


@pytest.mark.slow
def test_killed_at_any_moment_it_leaves_only_what_verifies_and_the_next_one_goes_on(tmp_path, sync, there):
    run = start(tmp_path / "run", 10, size=SIZE)
    generator = random.Random(7)
    for number in range(12):
        process = sync(**FOREVER, rate=2e6)
        time.sleep(generator.uniform(0.1, 1.2))
        process.kill()
        process.wait()
        assert set(shown(there).values()) <= {None}
        if number % 4 == 3:
            save(run, 10 * (2 + number // 4), size=SIZE)
    assert ended(sync()) == 0
    assert shown(there) == dict.fromkeys(names(10, 20, 30, 40))


def test_the_log_is_rotated_and_a_trouble_told_once_in_ten_minutes(tmp_path, monkeypatch):
    monkeypatch.setattr(status, "LOG_BYTES", 1000)
    told = []
    log = status.Log(tmp_path, told.append)
    for number in range(100):
        log.loud(f"line {number} " + "x" * 50, "network")
    assert told == ["line 0 " + "x" * 50]
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["sync.log", "sync.log.1", "sync.log.2"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert "line 99" in (tmp_path / "sync.log").read_text()
    log.over("network")
    log.loud("again", "network")
    assert told[1:] == ["again"]


def test_a_log_and_a_status_on_a_full_disk_are_no_reason_to_end(tmp_path):
    gone = tmp_path / "gone"
    status.Log(gone, lambda _: None).say("x")
    status.Status(gone, "file:///x", 1).write()
    assert not gone.exists()


def test_what_an_earlier_process_saw_counts_until_the_store_was_seen_again(tmp_path, sync):
    run = start(tmp_path / "run", 10)
    assert ended(sync()) == 0
    shutil.rmtree(tmp_path / "there")
    process = sync([[], ["stall"]], **FOREVER, stall=3600.0)  # the first pass was that of the process before
    until(lambda: status.read(run).get("pid") == process.pid and status.read(run)["state"] == "sending")
    assert there_now(tmp_path) == names(10)
