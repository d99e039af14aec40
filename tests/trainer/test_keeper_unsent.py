"""What the run's remote does not have keeps the machine: until it is there, and never beyond a limit."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.trainer.baked import SECONDS, Image, checkpoint, until
from tests.trainer.kept_machine import MINUTE, POD, RUNPOD, Machine, kept
from tests.trainer.machine_end import START, Provider, serving

HOUR = 60 * MINUTE
URL = "s3://user:hush@bucket/run"
SEAL = "ab" * 32
LOOKS = 12  # more than the keeper has to see nothing in a row (traces.py)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving() as found:
        yield found


@pytest.fixture
def machine(tmp_path, environment, provider) -> Iterator[Machine]:
    with kept(tmp_path, environment, provider) as found:
        file = found.image.root / "smi" / "nvidia-smi"
        file.parent.mkdir()
        file.write_text("#!/bin/sh\necho 0\n")
        file.chmod(0o755)
        found.image.environment["PATH"] = f"{file.parent}:{found.image.environment['PATH']}"
        yield found


def ran(image: Image, then: str, remote: str = URL) -> tuple[str, ...]:
    """A command that leaves what `run` does, a checkpoint among it, and tells the keeper of it."""
    made = checkpoint(image.run_folder, 2).replace("{}", json.dumps({"step": 2, "sha256": SEAL}))
    told = f"printf '%s\\n%s\\n' '{image.run_folder}' '{remote}' >\"$stoker_kept\""
    return ("sh", "-c", f"{made}; {told}; touch began; {then}")


WAITS = "trap 'exit 75' TERM; touch ready; while :; do sleep 0.05; done"


def seen(image: Image, **told: object) -> None:
    """What the sync process says."""
    content = {"remote": URL, "checkpoints": [], "seals": {}, "sent_bytes": 0, "state": "waiting", **told}
    (image.run_folder / "sync.json").write_text(json.dumps(content))


def there(image: Image) -> None:
    seen(image, checkpoints=["step-00000002"], seals={"step-00000002": SEAL}, state="idle")


class TestIdleness:
    @pytest.mark.slow
    def test_sending_and_an_outage_of_the_store_are_none_until_it_is_there(self, machine, provider):
        idle = {"STOKER_IDLE_MINUTES": "30", "STOKER_DEADLINE": str(START + 50 * HOUR), **RUNPOD}
        machine.start(*ran(machine.image, WAITS), **idle)
        until((machine.image.volume / "began").exists)
        for _ in range(3):
            machine.looked(LOOKS)
            machine.pass_time(31 * MINUTE)
        machine.looked(LOOKS)
        assert provider.calls == [] and machine.process.poll() is None
        assert "step-00000002 is not at the remote" in machine.words()
        there(machine.image)
        machine.looked(LOOKS)
        machine.pass_time(31 * MINUTE)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"] and "idle for 30 minutes" in machine.words()

    def test_the_deadline_holds_all_the_same(self, machine, provider):
        limits = {"STOKER_IDLE_MINUTES": "30", "STOKER_DEADLINE": str(START + 2 * HOUR), "STOKER_GRACE": "5"}
        machine.start(*ran(machine.image, WAITS), **limits, **RUNPOD)
        until((machine.image.volume / "began").exists)
        machine.pass_time(2 * HOUR)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"] and "the deadline is here" in machine.words()

    @pytest.mark.slow
    def test_without_a_deadline_it_is_believed_for_a_day(self, machine, provider):
        machine.start(*ran(machine.image, WAITS), STOKER_IDLE_MINUTES="30", **RUNPOD)
        until((machine.image.volume / "began").exists)
        machine.looked(LOOKS)
        machine.pass_time(HOUR)
        until(lambda: "24 hours more" in machine.words())
        machine.looked(LOOKS)
        machine.pass_time(24 * HOUR + MINUTE)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"]

    @pytest.mark.slow
    def test_a_transfer_that_moves_is_a_sign_of_life(self, machine, provider):
        image = machine.image
        machine.start(*ran(image, WAITS), STOKER_IDLE_MINUTES="30", **RUNPOD)
        until((image.volume / "began").exists)
        for count in range(1, 4):  # the newest is there, an older one is on its way
            seen(image, seals={"step-00000002": SEAL}, sent_bytes=count)
            machine.looked(LOOKS)
            machine.pass_time(20 * MINUTE)
        machine.looked(2)
        assert provider.calls == [] and machine.process.poll() is None


class TestTheEndOfTheRun:
    @pytest.mark.parametrize("code", [3, 75])
    def test_the_machine_is_kept_past_its_minutes_and_ended_once_it_is_there(self, machine, provider, code):
        limits = {"STOKER_END_INSTANCE": "1", "STOKER_KEEP_MINUTES": "15", "STOKER_DEADLINE": str(START + 50 * HOUR)}
        machine.start(*ran(machine.image, f"exit {code}"), **limits, **RUNPOD)
        for count in range(1, 4):
            until(lambda least=count: machine.words().count("is not at the remote") >= least)
            machine.pass_time(15 * MINUTE)
        assert provider.calls == [] and f"keeper: the run ended with {code}" in machine.words()
        assert "by hand: python3 -m trainer sync" in machine.words() and "hush" not in machine.words()
        there(machine.image)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"]

    def test_the_deadline_ends_it_with_the_checkpoint(self, machine, provider):
        limits = {"STOKER_END_INSTANCE": "1", "STOKER_DEADLINE": str(START + HOUR)}
        machine.start(*ran(machine.image, "exit 3"), **limits, **RUNPOD)
        until(lambda: "until its deadline" in machine.words())
        machine.pass_time(HOUR)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"]

    def test_without_a_deadline_a_day_does(self, machine, provider):
        machine.start(*ran(machine.image, "exit 3"), STOKER_END_INSTANCE="1", **RUNPOD)
        until(lambda: "24 hours more" in machine.words())
        machine.pass_time(23 * HOUR)
        until(lambda: "1 hours more" in machine.words())
        assert provider.calls == []
        machine.pass_time(HOUR + MINUTE)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"]

    def test_the_word_of_the_run_is_enough_on_a_full_disk(self, machine, provider):
        known = f"echo '{machine.image.run_folder}/checkpoints/step-00000002' >>\"$stoker_kept\"; exit 75"
        machine.start(*ran(machine.image, known), STOKER_END_INSTANCE="1", **RUNPOD)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"] and "not at the remote" not in machine.words()

    def test_without_a_remote_nothing_is_waited_for(self, machine, provider):
        machine.start(*ran(machine.image, "exit 75", remote=""), STOKER_END_INSTANCE="1", **RUNPOD)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"]

    @pytest.mark.parametrize(
        "told",
        [
            {"remote": "s3://another/run", "seals": {"step-00000002": SEAL}},
            {"seals": {"step-00000002": "cd" * 32}},
            {"seals": None},
        ],
        ids=["another remote", "another checkpoint of that name", "nonsense"],
    )
    def test_only_this_checkpoint_at_this_remote_counts(self, machine, provider, told):
        (machine.image.run_folder).mkdir(parents=True)
        seen(machine.image, **told)
        machine.start(*ran(machine.image, "exit 75"), STOKER_END_INSTANCE="1", **RUNPOD)
        until(lambda: "is not at the remote" in machine.words())
        assert provider.calls == []

    def test_a_container_that_cannot_end_its_machine_stays_up_for_it(self, machine, provider):
        process = machine.start(*ran(machine.image, "exit 3"), STOKER_END_INSTANCE="1")
        until(lambda: "the run ended with 3" in machine.words())
        assert process.poll() is None, "its end is what others end the machine for"
        there(machine.image)
        assert process.wait(SECONDS) == 3 and provider.calls == []

    def test_docker_stop_ends_the_waiting(self, machine, provider):
        process = machine.start(*ran(machine.image, "exit 3"), STOKER_END_INSTANCE="1", **RUNPOD)
        until(lambda: "is not at the remote" in machine.words())
        process.terminate()
        assert process.wait(SECONDS) == 3 and provider.calls == []


@pytest.mark.slow
def test_the_real_run_sends_through_an_outage_and_then_the_machine_ends(machine, provider):
    """`run` under its keeper, idle for hours: the store is out, then it is back."""
    image = machine.image
    image.attempts("exit 0", checkpoint(image.run_folder, 2), *["exit 3"] * 3, "exit 0")
    limits = {"STOKER_END_INSTANCE": "1", "STOKER_IDLE_MINUTES": "30", "STOKER_DEADLINE": str(int(START) + 86400)}
    machine.start(str(image.bin / "run"), STOKER_REMOTE=URL, STOKER_RESTARTS="0", **limits, **RUNPOD)
    for count in range(2, 5):
        until(lambda n=count: f"try {n} in 300 s" in machine.words())
        assert provider.calls == []
        machine.pass_time(40 * MINUTE)
    machine.gone()
    assert provider.told() == [f"DELETE {POD}"] and "keeper: the run ended with 0" in machine.words()


class TestBeforeTheRunHasAskedTheTrainer:
    """A disk that was started again holds a checkpoint which the remote has not, and nothing can be trained there."""

    def start(self, machine: Machine, script: str, *sends: str) -> None:
        image = machine.image
        (image.run_folder / "checkpoints" / "step-00000002").mkdir(parents=True)
        manifest = image.run_folder / "checkpoints" / "step-00000002" / "manifest.json"
        manifest.write_text(json.dumps({"step": 2, "sha256": SEAL}))
        image.profile(gpu={"type": "H100", "count": 8, "compute_capability": "9.0", "memory_gb": 80})
        image.attempts(*sends)
        limits = {"STOKER_END_INSTANCE": "1", "STOKER_DEADLINE": str(int(START) + 86400), "STOKER_RESTARTS": "0"}
        machine.start(str(image.bin / script), STOKER_REMOTE=URL, **limits, **RUNPOD)

    @pytest.mark.slow
    @pytest.mark.parametrize("script", ["entrypoint", "run"])
    def test_a_machine_that_is_not_fit_sends_it_before_it_ends(self, machine, provider, script):
        self.start(machine, script, "exit 3", "exit 0")
        until(lambda: "try 2 in 300 s" in machine.words())
        assert provider.calls == []
        machine.pass_time(301)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"] and "keeper: the run ended with 3" in machine.words()
        assert [line.split()[0] for line in machine.image.told()] == ["sync", "sync"]

    def test_a_run_that_cannot_even_say_where_it_is_leaves_it_in_the_keepers_care(self, machine, provider):
        (machine.image.bin / "steps").write_text("exit 3\n")
        self.start(machine, "run")
        until(lambda: "step-00000002 is not at the remote" in machine.words())
        machine.looked(3)
        assert provider.calls == [] and "keeper: the run ended with 3" in machine.words()

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "flags, variables",
        [
            ((), {"STOKER_REMOTE": URL}),
            ((), {"MODEL_TAG": "d20", "HF_REPO_ID": "someone/checkpoints"}),
            ((), {"MODEL_TAG": "d20", "HF_REPO_ID": "someone/data", "HF_REPO_TYPE": "dataset"}),
            ((), {"NANOCHAT_BASE_DIR": "/tmp/base", "HF_REPO_ID": "someone/checkpoints"}),
            ((), {"STOKER_RUN_DIR": "here/it", "STOKER_REMOTE": URL, "MODEL_TAG": "d20"}),
            (("--run", "/tmp/typed", "--remote=file:///typed"), {"STOKER_REMOTE": URL, "STOKER_RUN_DIR": "/tmp/it"}),
        ],
        ids=str,
    )
    def test_what_it_takes_for_the_folder_and_the_remote_is_what_run_says(self, machine, flags, variables):
        image = machine.image
        shown = image.run("run", "--dry-run", *flags, **variables).stdout
        facts = dict(line.split(None, 2)[::2] for line in shown.splitlines() if line.startswith("run folder"))
        facts |= {line.split()[0]: line.split()[1] for line in shown.splitlines() if line.startswith("remote ")}
        machine.start("sh", "-c", 'cp "$stoker_kept" told; :', *flags, **variables)
        machine.gone()
        folder, remote = (image.volume / "told").read_text().splitlines()
        assert folder == str(image.volume / facts["run"])
        assert remote.replace("user:hush@", "***@") == facts["remote"]


class TestStoppedFromOutside:
    """What keep.sh reads where no key is in the container: 75 alone does not say that all is sent."""

    def stopped(self, machine: Machine, *command: str, before=lambda: None) -> list[str]:
        process = machine.start(*command, STOKER_END_INSTANCE="1")
        until((machine.image.volume / "ready").exists)
        before()
        process.terminate()
        assert process.wait(SECONDS) == 75
        return [line for line in machine.words().splitlines() if "stopping" in line]

    UNKNOWN = "keeper: stopping: what is at the remote is not known yet"

    def test_it_says_what_is_left_behind(self, machine):
        left = "keeper: stopping: step-00000002 is not at the remote"
        assert self.stopped(machine, *ran(machine.image, WAITS)) == [self.UNKNOWN, left]

    def test_it_says_that_nothing_is(self, machine):
        said = self.stopped(machine, *ran(machine.image, WAITS), before=lambda: there(machine.image))
        assert said == [self.UNKNOWN, "keeper: stopping: all is at the remote"]

    def test_without_a_remote_there_is_nothing_to_say(self, machine):
        assert self.stopped(machine, *ran(machine.image, WAITS, remote="")) == []
