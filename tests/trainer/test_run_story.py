"""`run` and `resume` with the real trainer, from an empty volume to the end, killed and moved on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest

from tests.trainer.baked import SECONDS, TRAINER, Image, alive, stop, until
from trainer.run.folder import losses

pytestmark = pytest.mark.usefixtures("torch")
QUICK = {"STOKER_BACKOFF": "0"}
ENDLESS = ("--steps", "1000000")


@pytest.fixture
def image(tmp_path, environment):
    return Image(tmp_path / "image", environment)


@pytest.fixture
def other(tmp_path, environment):
    """Another machine."""
    return Image(tmp_path / "other", environment)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "store").mkdir()
    return f"file://{tmp_path}/store/run"


@pytest.mark.slow
def test_a_killed_trainer_is_restarted_and_the_run_ends_as_if_nothing_had_been(image):
    steps = ("--steps", "80", "--set", "checkpoint.every=10")
    process = image.start("run", *steps, **QUICK)
    until(lambda: image.last_step() >= 15, process)
    os.kill(image.trainer_process(), signal.SIGKILL)
    out, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, out + errors
    assert "ended with signal 9; restart 1 of 10" in out and "resuming from step-" in out
    assert sorted(losses(image.run_folder)) == list(range(1, 81)), (
        "every step, and a step done twice gave the same loss"
    )
    assert "resuming from step-" in image.log()


@pytest.mark.slow
class TestOneMachine:
    def test_sigterm_saves_and_the_same_command_goes_on(self, image):
        first = image.start("run", *ENDLESS, **QUICK)
        until(lambda: image.last_step() >= 5, first)
        code, said = stop(first)
        assert code == 75 and "stopped by SIGTERM" in said
        step = image.last_step()
        assert image.steps_here()[-1] == step
        done = image.run("run", "--steps", str(step + 3), **QUICK)
        assert done.returncode == 0 and f"resuming from step-{step:08d}" in done.stdout

    def test_a_second_run_in_the_folder_is_refused_and_does_not_loop(self, image):
        first = image.start("run", *ENDLESS, **QUICK)
        until(lambda: image.last_step() >= 2, first)
        second = image.run("run", *ENDLESS, **QUICK, STOKER_GRACE="1")
        assert second.returncode == 4 and "trains in" in second.stdout
        assert stop(first)[0] == 75

    def test_after_a_killed_run_the_next_one_waits_for_its_trainer_and_goes_on(self, image):
        first = image.start("run", *ENDLESS, **QUICK)
        until(lambda: image.last_step() >= 5, first)
        trainer = image.trainer_process()
        first.kill()
        first.communicate()
        step = image.last_step()
        second = image.run("run", "--steps", str(step + 40), **QUICK)
        assert second.returncode == 0 and not alive(trainer), second.stdout
        assert sorted(losses(image.run_folder)) == list(range(1, step + 41))

    def test_two_ranks_by_our_launcher(self, image):
        done = image.run("run", "--steps", "4", NPROC_PER_NODE="2", **QUICK)
        assert done.returncode == 0 and "2 ranks on cpu" in done.stdout

    def test_two_ranks_by_torchrun_stop_with_75_and_go_on(self, image):
        torchrun = {"STOKER_LAUNCHER": "torchrun", "NPROC_PER_NODE": "2", **QUICK}
        first = image.start("run", *ENDLESS, **torchrun)
        until(lambda: image.last_step() >= 5, first)
        code, said = stop(first)
        assert code == 75 and "stopped by SIGTERM" in said
        step = image.last_step()
        assert image.steps_here()[-1] == step
        done = image.run("run", "--steps", str(step + 3), **torchrun)
        assert done.returncode == 0 and "2 ranks on cpu" in done.stdout

    def test_torchrun_hands_on_what_its_ranks_answered(self, image):
        torchrun = {"STOKER_LAUNCHER": "torchrun", "NPROC_PER_NODE": "2", **QUICK}
        broke = {"STOKER_DOLLARS": "0.0000001", "STOKER_PRICE": "1"}
        done = image.run("run", *ENDLESS, **broke, **torchrun)
        assert done.returncode == 75 and "the dollar limit" in done.stdout
        other = image.run("run", "--set", "model.width=64", **torchrun)
        assert other.returncode == 2 and "restart" not in other.stdout

    def test_a_rank_of_torchrun_that_is_killed_is_a_crash(self, image):
        torchrun = {"STOKER_LAUNCHER": "torchrun", "NPROC_PER_NODE": "2", **QUICK}
        process = image.start("run", "--steps", "100", **torchrun)
        until(lambda: image.last_step() >= 5, process)
        os.kill(image.trainer_process(), signal.SIGKILL)
        out, errors = process.communicate(timeout=SECONDS)
        assert process.returncode == 0 and "restart 1 of 10" in out, out + errors

    def test_fine_tuning_follows_and_is_resumed(self, image):
        file = image.volume / "chats.jsonl"
        turns = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b."}]
        file.write_text(f"{json.dumps({'messages': turns})}\n" * 30)
        sft = {"RUN_SFT": "1", "STOKER_SFT_DATA": str(file), "MODEL_TAG": "d1", **QUICK}
        done = image.run("run", "--steps", "4", **sft)
        base, tuned = image.volume / "runs" / "d1", image.volume / "runs" / "d1-sft"
        assert done.returncode == 0, done.stdout
        assert image.steps_here(base)[-1] == 4 and image.steps_here(tuned)
        again = image.run("run", "--steps", "4", **sft)
        assert again.returncode == 0 and image.steps_here(tuned)
        assert "done at step 4" in image.log(base)

    def test_no_fine_tuning_of_what_is_not_done(self, image):
        file = image.volume / "chats.jsonl"
        file.write_text("{}\n")
        done = image.run("run", *ENDLESS, "--time-limit", "0.01", RUN_SFT="1", STOKER_SFT_DATA=str(file), **QUICK)
        assert done.returncode == 75 and not (image.volume / "runs" / "cpu-sft").exists()

    def test_going_back_to_a_step(self, image):
        assert image.run("run", "--steps", "6", **QUICK).returncode == 0
        done = image.run("resume", "--from-step", "4", "--steps", "8", **QUICK)
        assert done.returncode == 0 and "resuming from step-00000004" in done.stdout, done.stdout
        missing = image.run("resume", "--from-step", "3", **QUICK)
        assert missing.returncode == 3 and "no step 3" in missing.stdout


@pytest.mark.slow
class TestTwoMachines:
    def test_a_lost_volume_is_restored_and_the_run_goes_on(self, image, other, store):
        remote = {"STOKER_REMOTE": store, "STOKER_SYNC_EVERY": "1", **QUICK}
        first = image.start("run", *ENDLESS, **remote)
        until(lambda: image.last_step() >= 5, first)
        code, said = stop(first)
        assert code == 75, said
        step = image.steps_here()[-1]
        done = other.run("run", "--steps", str(step + 3), **remote)
        assert done.returncode == 0 and f"resuming from step-{step:08d}" in done.stdout, done.stdout
        assert sorted(losses(other.run_folder)) == list(range(1, step + 4)), "its log came along"
        shutil.rmtree(image.run_folder)
        assert image.run("run", "--steps", str(step + 3), **remote).returncode == 0
        assert image.steps_here()[-1] == step + 3, "what the other machine made was sent at its end"

    def test_with_every_checkpoint_here_damaged_it_goes_on_from_the_remote(self, image, store):
        remote = {"STOKER_REMOTE": store, **QUICK}
        assert image.run("run", "--steps", "4", **remote).returncode == 0
        for weights in image.run_folder.glob("checkpoints/*/weights-*"):
            weights.write_bytes(weights.read_bytes()[:-1] + b"?")
        done = image.run("run", "--steps", "6", **remote)
        assert done.returncode == 0 and "resuming from step-00000004" in done.stdout, done.stdout
        assert sorted(losses(image.run_folder)) == list(range(1, 7)), "and not from the beginning"

    def test_resume_shows_what_there_is(self, image, other, store):
        remote = {"STOKER_REMOTE": store, **QUICK}
        assert image.run("run", "--steps", "4", **remote).returncode == 0
        here = image.run("resume", "--dry-run", **remote)
        assert here.returncode == 0 and here.stdout.count("step-00000004") >= 2
        there = other.run("resume", "--from", store, "--steps", "6", **QUICK)
        assert there.returncode == 0 and "resuming from step-00000004" in there.stdout, there.stdout

    @pytest.mark.parametrize("remote", [True, False])
    def test_nothing_to_resume(self, image, store, remote):
        done = image.run("resume", **({"STOKER_REMOTE": store} if remote else {}), **QUICK)
        assert done.returncode == 3 and "nothing to resume" in done.stdout + done.stderr
        assert "bin/run" in done.stdout + done.stderr

    def test_the_fine_tuned_run_has_a_place_of_its_own(self, image, other, store, tmp_path):
        file = tmp_path / "chats.jsonl"
        turns = [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "b."}]
        file.write_text(f"{json.dumps({'messages': turns})}\n" * 30)
        variables = {"RUN_SFT": "1", "STOKER_SFT_DATA": str(file), "STOKER_REMOTE": store, **QUICK}
        assert image.run("run", "--steps", "4", **variables).returncode == 0
        assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["run", "run-sft"]
        assert other.run("run", "--steps", "4", **variables).returncode == 0
        assert other.steps_here(other.volume / "runs" / "cpu-sft")


assert TRAINER["checkpoint"] == {"every": 2}, "the tests above count on it"
