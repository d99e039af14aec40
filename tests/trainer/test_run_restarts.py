"""What `run` does with the answers of the trainer. The trainer's place is taken by a line of shell per attempt."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.trainer.baked import SECONDS, Image, alive, checkpoint, stop, until

QUICK = {"STOKER_BACKOFF": "0"}
slow = pytest.mark.slow


@pytest.fixture
def image(tmp_path, environment):
    return Image(tmp_path / "image", environment)


class TestAnswers:
    @pytest.mark.parametrize("code", [0, *(pytest.param(code, marks=slow) for code in (1, 2, 4, 75))])
    def test_an_answer_is_handed_on_and_not_asked_for_again(self, image, code):
        image.attempts(f"exit {code}")
        assert image.run("run", **QUICK).returncode == code
        assert [line.split()[0] for line in image.told()] == ["train"]

    @pytest.mark.parametrize(
        "crash", ["kill -9 $$", *(pytest.param(line, marks=slow) for line in ("exit 3", "kill -SEGV $$", "exit 134"))]
    )
    def test_a_crash_is_tried_again(self, image, crash):
        image.attempts(crash, crash, "exit 0")
        done = image.run("run", **QUICK)
        assert done.returncode == 0 and len(image.told()) == 3
        assert "restart 1 of 10 in 0 s" in done.stdout and "restart 2 of 10" in done.stdout

    def test_crashes_without_a_new_checkpoint_have_a_limit(self, image):
        image.attempts(*["exit 3"] * 9)
        done = image.run("run", **QUICK, STOKER_RESTARTS="2")
        assert done.returncode == 3 and len(image.told()) == 3
        assert "no more restarts" in done.stdout

    @slow
    def test_a_new_checkpoint_makes_the_count_begin_again(self, image):
        crash = [f"{checkpoint(image.run_folder, step)}; exit 3" for step in (2, 4, 4, 6)]
        image.attempts(*crash, "exit 3", "exit 0")
        assert image.run("run", **QUICK, STOKER_RESTARTS="2").returncode == 0
        assert len(image.told()) == 6

    def test_a_remote_that_cannot_be_reached_is_not_taken_for_an_empty_one(self, image):
        image.attempts("exit 3", "exit 3", "exit 0")
        done = image.run("run", **QUICK, STOKER_RESTARTS="1", STOKER_REMOTE="file:///mnt/store/run")
        assert done.returncode == 3 and [line.split()[0] for line in image.told()] == ["pull", "pull"]

    @slow
    def test_no_restart_at_all_when_none_is_wanted(self, image):
        image.attempts("exit 3")
        assert image.run("run", **QUICK, STOKER_RESTARTS="0").returncode == 3
        assert len(image.told()) == 1

    @slow
    def test_the_pause_doubles(self, image):
        image.attempts("exit 3", "exit 3", "exit 3", "exit 0")
        said = image.run("run", STOKER_BACKOFF="0.02").stdout
        assert [line.split(" in ")[1] for line in said.splitlines() if "restart" in line] == [
            "0.02 s",
            "0.04 s",
            "0.08 s",
        ]

    @slow
    def test_what_a_crash_left_behind_is_ended_before_the_next_attempt(self, image):
        image.attempts("sleep 300 & echo $! >left; kill -9 $$", "exit 0")
        assert image.run("run", **QUICK).returncode == 0
        left = int((image.volume / "left").read_text())
        assert not alive(left)

    @slow
    def test_flags_reach_the_trainer_and_ours_do_not(self, image):
        image.attempts("exit 0")
        image.run("run", "--set", "optim.lr=0.01", "--", "--steps", "9", **QUICK)
        assert image.told()[0].endswith("--set optim.lr=0.01 --steps 9")

    @slow
    def test_going_back_to_a_step_happens_once(self, image):
        start = """echo '{"event": "start", "attempt": 1}' >>runs/cpu/training_metrics.jsonl"""
        image.attempts("exit 3", f"{start}; exit 3", "exit 0")
        (image.run_folder / "checkpoints").mkdir(parents=True)
        assert image.run("run", "--resume-from-step", "4", **QUICK).returncode == 0
        assert ["--resume-from-step 4" in line for line in image.told()] == [True, True, False]


@slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
class TestSignals:
    """In every phase: 75, soon, and nothing left behind."""

    def test_while_it_trains_the_trainer_is_asked_and_waited_for(self, image, number):
        image.attempts("trap 'echo saved >saved; exit 75' TERM; touch up; while :; do sleep 0.05; done")
        process = image.start("run", **QUICK)
        until((image.volume / "up").exists, process)
        code, said = stop(process, number)
        assert code == 75 and (image.volume / "saved").exists()
        assert f"{number.name}: stopping within 25 s" in said and len(image.told()) == 1

    def test_a_trainer_that_does_not_end_is_ended_when_the_grace_is_over(self, image, number):
        image.attempts("trap '' TERM; touch up; while :; do sleep 0.05; done")
        process = image.start("run", **QUICK, STOKER_GRACE="1")
        until((image.volume / "up").exists, process)
        assert stop(process, number)[0] == 75

    def test_while_it_waits_to_restart(self, image, number):
        image.attempts("exit 3")
        process = image.start("run", STOKER_BACKOFF="200")
        until(lambda: "restart 1" in image.log(), process)
        assert stop(process, number)[0] == 75 and len(image.told()) == 1

    def test_while_it_restores(self, image, number):
        image.attempts("touch up; exec sleep 300")
        process = image.start("run", **QUICK, STOKER_REMOTE="file:///nonexistent/store")
        until((image.volume / "up").exists, process)
        assert stop(process, number)[0] == 75
        assert [line.split()[0] for line in image.told()] == ["pull"]

    def test_while_it_sends_the_last_of_it(self, image, number):
        image.attempts("exit 0", checkpoint(image.run_folder, 2), "touch up; exec sleep 300")
        process = image.start("run", **QUICK, STOKER_REMOTE="file:///nonexistent/store")
        until((image.volume / "up").exists, process)
        assert stop(process, number)[0] == 75
        assert [line.split()[0] for line in image.told()] == ["pull", "train", "sync"]

    def test_while_setup_looks_at_the_machine(self, image, number):
        (image.bin / "setup").write_text("#!/bin/sh\ntouch up\nexec sleep 300\n")
        process = image.start("run", **QUICK)
        until((image.volume / "up").exists, process)
        assert stop(process, number)[0] == 75


class TestStopping:
    @slow
    def test_at_any_moment_it_is_soon_over(self, image):
        for tenths in range(0, 16):
            image.attempts(*["sleep 0.3; exit 3"] * 9)
            process = image.start("run", **QUICK)
            time.sleep(tenths / 10)
            began = time.monotonic()
            code, said = stop(process)
            assert code == 75 or (code == -signal.SIGTERM and not said), f"not only before it could listen: {said}"
            assert time.monotonic() - began < 20, "not by the end of the grace"

    @slow
    def test_what_was_saved_last_is_still_sent_within_the_grace(self, image):
        save = checkpoint(image.run_folder, 2)
        image.attempts(
            "exit 0", f"trap '{save.replace(chr(39), '')}; exit 75' TERM; touch up; while :; do sleep 0.05; done"
        )
        process = image.start("run", **QUICK, STOKER_REMOTE="file:///nonexistent/store")
        until((image.volume / "up").exists, process)
        assert stop(process)[0] == 75
        assert [line.split()[0] for line in image.told()] == ["pull", "train", "sync"]

    @slow
    def test_a_hang_up_ends_nothing(self, image):
        image.attempts("touch up; until [ -e go ]; do sleep 0.05; done; exit 0")
        process = image.start("run", **QUICK)
        until((image.volume / "up").exists, process)
        process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        (image.volume / "go").touch()
        assert process.wait(SECONDS) == 0

    @slow
    def test_a_terminal_that_is_gone_ends_nothing(self, image):
        image.attempts("touch up; until [ -e go ]; do sleep 0.05; done; echo said; exit 0")
        process = image.start("run", **QUICK)
        until((image.volume / "up").exists, process)
        process.stdout.close()
        process.stderr.close()
        (image.volume / "go").touch()
        assert process.wait(SECONDS) == 0
        assert "said" in image.log()

    @slow
    def test_a_killed_run_has_its_trainer_save_and_go(self, image):
        image.attempts("trap 'echo saved >saved; exit 75' TERM; touch up; while :; do sleep 0.05; done")
        process = image.start("run", **QUICK)
        until((image.volume / "up").exists, process)
        process.kill()
        until((image.volume / "saved").exists)


@slow
@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"], ["bash", "--posix"]], ids=" ".join)
class TestShells:
    """The same under the shells that images have as sh."""

    @pytest.fixture
    def image(self, image, shell):
        if not shutil.which(shell[0]):
            pytest.skip(f"no {shell[0]}")
        image.shell = shell
        return image

    def test_restart_and_end(self, image):
        image.attempts("kill -9 $$", "exit 3", "echo all is well; exit 0")
        done = image.run("run", "--steps", "3", STOKER_BACKOFF="0.01")
        assert done.returncode == 0 and "all is well" in done.stdout
        assert "all is well" in image.log()

    def test_stop(self, image):
        image.attempts("trap 'exit 75' TERM; touch up; while :; do sleep 0.05; done")
        process = image.start("run", **QUICK)
        until((image.volume / "up").exists, process)
        assert stop(process)[0] == 75

    def test_help(self, image):
        assert "STOKER_GRACE" in image.run("run", "--help").stdout


@slow
def test_nothing_is_left_in_the_temporary_folder(image):
    image.attempts("exit 0")
    image.run("run")
    assert list((image.root / "tmp").iterdir()) == []


@slow
def test_no_process_of_ours_is_left(image):
    image.attempts("exit 3", "exit 0")
    image.run("run", **QUICK)
    environments = [path for path in Path("/proc").glob("[0-9]*/environ") if path.parent.name != str(os.getpid())]
    left = subprocess.run(["grep", "-laF", str(image.home), *environments], capture_output=True, text=True, check=False)
    assert left.stdout == ""


def test_a_kill_of_what_only_asks_is_asked_again(image):
    """`train --show` tells what the flags come to; a stray kill of it is no answer."""
    image.attempts("exit 0")
    python = image.root / "stand-in" / "python3"
    once = image.root / "once"
    lines = python.read_text().splitlines()
    kill = f'case "$*" in *--show*) [ -e "{once}" ] || {{ touch "{once}"; kill -KILL $$; }} ;; esac'
    python.write_text("\n".join([lines[0], kill, *lines[1:]]) + "\n")
    done = image.run("run")
    assert once.exists() and done.returncode == 0, done.stderr
