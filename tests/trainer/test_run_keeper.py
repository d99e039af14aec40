"""The keeper, a real process: it outlives the run, lets it save, and ends its own machine and no other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer.baked import SECONDS, Image, alive, until
from tests.trainer.kept_machine import KEY, MINUTE, POD, RUNPOD, SLEEPS, VAST, Machine, kept
from tests.trainer.machine_end import START, Provider, serving


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving() as found:
        yield found


@pytest.fixture
def machine(tmp_path, environment, provider) -> Iterator[Machine]:
    with kept(tmp_path, environment, provider) as found:
        yield found


class TestTheEndOfTheRun:
    @pytest.mark.parametrize("code", ["0", "75"])
    def test_runpod_deletes_the_pod_with_the_pods_own_key(self, machine, provider, code):
        machine.start("sh", "-c", f"exit {code}", STOKER_END_INSTANCE="1", **RUNPOD)
        assert machine.gone() == -signal.SIGKILL, "only the provider ended it"
        (call,) = provider.calls
        assert (str(call), call.body, call.key, call.agent) == (f"DELETE {POD}", None, KEY, "stoker/0.1")

    def test_vast_destroys_the_instance_with_an_empty_object(self, machine, provider):
        machine.start("true", STOKER_END_INSTANCE="1", **VAST)
        machine.gone()
        (call,) = provider.calls
        assert (str(call), call.body, call.key) == ("DELETE /api/v0/instances/20118481/", {}, KEY)

    def test_nothing_is_ended_unless_a_variable_asks_for_it(self, machine, provider):
        assert machine.start("sh", "-c", "exit 7", **RUNPOD).wait(SECONDS) == 7
        assert provider.calls == []

    def test_a_killed_run_is_a_failure_and_ends_the_machine_too(self, machine, provider):
        machine.start("sh", "-c", "kill -9 $$", STOKER_END_INSTANCE="1", **RUNPOD)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"] and "ended with 137" in machine.words()

    def test_a_command_that_cannot_be_started_ends_it_too(self, machine, provider):
        machine.start("/nonexistent/run", STOKER_END_INSTANCE="1", **RUNPOD)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"]

    def test_after_a_failure_the_machine_is_kept_to_be_looked_at(self, machine, provider):
        machine.start("sh", "-c", "exit 3", STOKER_END_INSTANCE="1", STOKER_KEEP_MINUTES="30", **RUNPOD)
        until(lambda: "kept 30 minutes" in machine.words())
        machine.pass_time(29 * MINUTE)
        machine.looked(3)  # nothing happens
        assert provider.calls == []
        machine.pass_time(MINUTE)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"]

    def test_stopped_from_outside_it_lets_the_run_save_and_ends_nothing(self, machine, provider):
        process = machine.start(*SLEEPS, STOKER_END_INSTANCE="1", **RUNPOD)
        until((machine.image.volume / "began").exists)
        process.terminate()
        assert machine.gone() == 75 and (machine.image.volume / "saved").exists()
        assert provider.calls == []


class TestTheDeadline:
    def test_the_run_saves_and_then_the_machine_is_ended(self, machine, provider):
        deadline = START + 60 * MINUTE
        machine.start(*SLEEPS, STOKER_DEADLINE=str(deadline), STOKER_GRACE="20", **RUNPOD)
        until((machine.image.volume / "began").exists)
        machine.pass_time(60 * MINUTE - 30)
        machine.looked(3)
        assert provider.calls == [] and not (machine.image.volume / "saved").exists()
        machine.pass_time(10)
        machine.gone()
        assert (machine.image.volume / "saved").exists(), "SIGTERM came first"
        (call,) = provider.calls
        assert str(call) == f"DELETE {POD}" and call.now <= deadline + 2 * MINUTE

    def test_it_holds_when_the_run_has_ended_long_before(self, machine, provider):
        machine.start("true", STOKER_DEADLINE=str(START + 600), **RUNPOD)
        machine.looked(3)
        assert provider.calls == []
        machine.pass_time(600)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"]

    def test_one_that_is_over_already_ends_the_machine_at_once(self, machine, provider):
        machine.start(*SLEEPS, STOKER_DEADLINE="1", STOKER_GRACE="5", **RUNPOD)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"]

    @pytest.mark.slow
    def test_a_run_that_does_not_end_is_killed_after_its_grace(self, machine, provider):
        stubborn = ("sh", "-c", "trap '' TERM; touch began; while :; do sleep 0.05; done")
        machine.start(*stubborn, STOKER_DEADLINE=str(START + 60), STOKER_GRACE="1", **RUNPOD)
        until((machine.image.volume / "began").exists)
        machine.pass_time(60)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"]

    def test_without_credentials_it_stops_the_container_and_says_so(self, machine, provider):
        machine.start(*SLEEPS, STOKER_DEADLINE="1", STOKER_GRACE="5")
        assert machine.gone() == 75 and (machine.image.volume / "saved").exists()
        assert provider.calls == [] and "needs somebody outside" in machine.words()


class TestIdleness:
    """STOKER_IDLE_MINUTES: no GPU works, and the run writes no line."""

    def gpus(self, machine: Machine, *words: str) -> None:
        file = machine.image.root / "smi" / "nvidia-smi"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\ncat <<EOF\n{chr(10).join(words)}\nEOF\n>'{file.parent}/asked'\n")
        file.chmod(0o755)
        machine.image.environment["PATH"] = f"{file.parent}:{machine.image.environment['PATH']}"

    # As `run` does: its folder's name goes to the keeper.
    WRITES = 'mkdir -p runs/it; echo "$PWD/runs/it" >"$stoker_kept"; touch began; '
    TRAINS = "trap 'exit 75' TERM; while :; do echo '{}' >>runs/it/training_metrics.jsonl; sleep 0.02; done"

    def test_a_silent_run_on_idle_gpus_is_ended(self, machine, provider):
        self.gpus(machine, "0", "4")
        machine.start(*SLEEPS, STOKER_IDLE_MINUTES="15", **RUNPOD)
        until((machine.image.volume / "began").exists)
        machine.looked(12)
        machine.pass_time(14 * MINUTE)
        machine.looked(3)
        assert provider.calls == []
        machine.pass_time(MINUTE)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"] and "idle for 15 minutes" in machine.words()
        assert (machine.image.volume / "saved").exists()

    def test_a_run_that_writes_lines_goes_on(self, machine, provider):
        self.gpus(machine, "0")
        machine.start("sh", "-c", self.WRITES + self.TRAINS, STOKER_IDLE_MINUTES="15", **RUNPOD)
        until((machine.image.volume / "began").exists)
        for _ in range(6):
            machine.looked(2)
            machine.pass_time(10 * MINUTE)
        machine.looked(2)
        assert provider.calls == [] and machine.process.poll() is None

    def test_a_busy_gpu_goes_on_without_lines(self, machine, provider):
        self.gpus(machine, "3", "97")
        machine.start(*SLEEPS, STOKER_IDLE_MINUTES="15", **RUNPOD)
        until((machine.image.volume / "began").exists)
        until((machine.image.root / "smi" / "asked").exists)
        for _ in range(5):
            machine.looked(3)
            machine.pass_time(10 * MINUTE)
        machine.looked(2)
        assert provider.calls == [] and machine.process.poll() is None

    def test_a_clock_that_jumps_is_no_idleness(self, machine, provider):
        self.gpus(machine, "0")
        machine.start("sh", "-c", self.WRITES + self.TRAINS, STOKER_IDLE_MINUTES="15", **RUNPOD)
        until((machine.image.volume / "began").exists)
        machine.pass_time(1000 * MINUTE)
        machine.looked(4)
        assert provider.calls == []


class TestARefusal:
    def test_runpod_is_asked_in_other_words_and_in_the_end_to_stop(self, machine, provider):
        refused = (403, {"title": "Forbidden", "status": 403, "detail": "access denied"})
        provider.answers = [refused, refused, (200, {"errors": [{"message": "not allowed"}]}), (200, {"id": "x"})]
        machine.start("true", STOKER_END_INSTANCE="1", **RUNPOD)
        machine.gone()
        action = f"POST {POD}/action"
        assert provider.told() == [f"DELETE {POD}", f"{action} terminate", "POST /graphql", f"{action} stop"]
        assert "podTerminate" in provider.calls[2].body["query"] and "7h9k2m4n6p" in provider.calls[2].body["query"]

    def test_what_may_pass_is_tried_again_until_it_is_ended(self, machine, provider):
        provider.answers = [None, (500, {}), (429, {"title": "Too Many Requests"}), (503, None)]
        machine.start("true", STOKER_END_INSTANCE="1", **RUNPOD)
        for count in range(1, 5):
            until(lambda least=count: len(provider.calls) >= least)
            until(lambda least=count: machine.words().count(f"DELETE {POD}") >= least)
            machine.pass_time(10 * MINUTE)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"] * 5, "no other call: nothing was refused"

    def test_hours_without_a_network_are_outlived(self, machine, provider):
        url = provider.url
        nowhere = {"STOKER_PROVIDER_URL": "http://127.0.0.1:9"}
        machine.start("true", STOKER_END_INSTANCE="1", **RUNPOD, **nowhere)
        for count in range(1, 4):
            until(lambda least=count: machine.words().count("no answer") >= least)
            machine.pass_time(60 * MINUTE)
        assert machine.process.poll() is None and provider.calls == [] and url == provider.url

    def test_taken_is_not_ended_so_it_is_asked_again(self, machine, provider):
        machine.start("true", dies=False, STOKER_END_INSTANCE="1", **RUNPOD)
        until(lambda: len(provider.calls) == 1)
        machine.pass_time(10 * MINUTE)
        until(lambda: len(provider.calls) == 2)
        assert set(provider.told()) == {f"DELETE {POD}"}

    def test_a_redirect_takes_the_key_nowhere(self, machine, provider):
        with serving() as elsewhere:
            provider.headers = {"Location": f"{elsewhere.url}{POD}"}
            provider.answers = [(307, None)]
            machine.start("true", STOKER_END_INSTANCE="1", **RUNPOD)
            until(lambda: "307" in machine.words())
            assert elsewhere.calls == []


class TestNoOtherMachine:
    @pytest.mark.parametrize(
        "variables",
        [
            {},
            {**RUNPOD, **VAST},
            {**RUNPOD, "STOKER_PROVIDER": "local"},
            {**RUNPOD, "STOKER_PROVIDER": "vast"},
            {**RUNPOD, "RUNPOD_POD_ID": "../pods/other"},
            {**VAST, "CONTAINER_ID": "1?x=2"},
            {"RUNPOD_POD_ID": "abc"},
            {**RUNPOD, "RUNPOD_API_KEY": "a key\nX-Header: 1"},
            {**RUNPOD, "STOKER_PROVIDER_URL": "http://example.org"},
            {**RUNPOD, "STOKER_PROVIDER_URL": "ftp://127.0.0.1/"},
            {**RUNPOD, "STOKER_PROVIDER_URL": "http://127.0.0.1:port"},
        ],
        ids=str,
    )
    def test_without_a_plain_answer_to_whose_it_is_none_is_ended(self, machine, provider, variables):
        process = machine.start("true", **{"STOKER_END_INSTANCE": "1", **variables})
        assert process.wait(SECONDS) == 0 and provider.calls == []
        assert KEY not in machine.words()

    def test_a_lent_key_ends_the_rental_that_has_our_tag(self, machine, provider, tmp_path):
        (tmp_path / "lent").write_text(f"{KEY}\n")
        provider.rentals = [{"id": 7, "label": "another"}, {"id": 48213, "label": machine.tag}]
        lent = {"STOKER_RENTAL": "48213", "STOKER_LENT_KEY": str(tmp_path / "lent")}
        machine.start("true", STOKER_END_INSTANCE="1", **lent)
        machine.gone()
        rentals = "/v2/on-demand/virtual-machine-rentals"
        assert provider.told() == [f"GET {rentals}", f"POST {rentals}/terminate"]
        assert provider.calls[1].body["rentalId"] == 48213 and provider.calls[1].key == KEY

    @pytest.mark.parametrize("rentals", [[{"id": 48213, "label": "another"}], [], None, [{"id": 48213}]])
    def test_a_lent_key_ends_no_rental_that_has_it_not(self, machine, provider, tmp_path, rentals):
        (tmp_path / "lent").write_text(KEY)
        provider.rentals = rentals
        lent = {"STOKER_RENTAL": "48213", "STOKER_LENT_KEY": str(tmp_path / "lent")}
        machine.start("true", STOKER_END_INSTANCE="1", **lent)
        until(lambda: "left alone" in machine.words() or "cannot be read" in machine.words())
        assert all(call.method == "GET" for call in provider.calls)

    def test_without_a_lent_key_only_the_container_ends(self, machine, provider):
        process = machine.start("true", STOKER_END_INSTANCE="1", STOKER_RENTAL="48213")
        assert process.wait(SECONDS) == 0 and provider.calls == []
        assert "STOKER_LENT_KEY" in machine.words() and "somebody outside" in machine.words()


class TestRobust:
    def test_the_key_is_in_no_word_and_no_process_list(self, machine, provider):
        provider.answers = [(500, {"detail": f"bad {KEY}"})]
        machine.start("true", STOKER_END_INSTANCE="1", **RUNPOD)
        until(lambda: "500" in machine.words())
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                assert KEY.encode() not in path.read_bytes()
            except OSError:
                continue
        assert KEY not in machine.words() and "***" in machine.words()

    def test_a_full_disk_and_a_lost_terminal_stop_nothing(self, machine, provider):
        machine.said = Path("/dev/full")
        machine.image.environment["TMPDIR"] = "/nonexistent"
        machine.start("sh", "-c", "exit 75", STOKER_END_INSTANCE="1", **RUNPOD)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"]

    def test_a_clock_that_dies_goes_on(self, machine, provider):
        with serving() as other:
            machine.start(*SLEEPS, STOKER_CLOCK=other.url, STOKER_DEADLINE=str(START + 26), STOKER_GRACE="24", **RUNPOD)
            until((machine.image.volume / "began").exists)
            time.sleep(0.5)
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"]

    @pytest.mark.parametrize(
        "variables",
        [{"STOKER_DEADLINE": "tomorrow"}, {"STOKER_KEEP_MINUTES": "-1"}, {"STOKER_CLOCK": "http://example.org"}],
        ids=lambda value: next(iter(value)),
    )
    def test_a_wrong_variable_is_a_run_that_failed(self, machine, provider, variables):
        machine.start("touch", "ran", **{"STOKER_END_INSTANCE": "1", **RUNPOD, **variables})
        machine.gone()
        assert next(iter(variables)) in machine.words() and not (machine.image.volume / "ran").exists()
        assert provider.told() == [f"DELETE {POD}"], "it bills all the same"

    def test_another_run_on_the_machine_is_waited_for_and_told_to_stop(self, machine, provider):
        first = machine.start(*SLEEPS, STOKER_DEADLINE=str(START + 600), STOKER_GRACE="20", **RUNPOD)
        until((machine.image.volume / "began").exists)
        second = Machine(machine.image, provider, machine.said.parent / "tmp2")
        second.said.parent.mkdir()
        own = {"STOKER_TAG": machine.tag, "STOKER_DEADLINE": str(START + 600), **RUNPOD}
        trap = "trap 'echo too >second; exit 75' TERM; touch here; while :; do sleep 0.05; done"
        other = second.start("sh", "-c", trap, **own)
        provider.machine = first.pid
        until((machine.image.volume / "here").exists)
        time.sleep(0.5)
        machine.pass_time(600)
        assert other.wait(SECONDS) == 75 and (machine.image.volume / "second").exists()
        machine.gone()
        assert provider.told() == [f"DELETE {POD}"], "one keeper, one call"


class TestAsProcessOne:
    """As in a container: nobody else reaps there, and a signal without an own answer would be lost."""

    @pytest.fixture
    def start(self, machine):
        if os.geteuid() != 0:
            pytest.skip("only root has a pid namespace to give")

        def begin(script: str, **variables: str) -> subprocess.Popen[bytes]:
            own = {"STOKER_PROVIDER_URL": machine.provider.url, "STOKER_END_INSTANCE": "1", **RUNPOD}
            room = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
            with machine.said.open("wb") as said:
                machine.process = subprocess.Popen(
                    [*room, str(machine.image.bin / "keeper"), "sh", "-c", script],
                    env={**machine.image.environment, **own, **variables},
                    cwd=machine.image.volume,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                )
            machine.provider.machine = machine.process.pid
            return machine.process

        return begin

    def test_it_ends_the_machine_and_leaves_no_zombies(self, machine, provider, start):
        start("sh -c 'sleep 0.1 & sleep 0.1 &'; sleep 1.5; cat /proc/[0-9]*/stat | grep -c ' Z ' >zombies")
        machine.gone()
        assert (machine.image.volume / "zombies").read_text() == "0\n"
        assert provider.told() == [f"DELETE {POD}"]

    def test_sigterm_reaches_the_run(self, machine, provider, start):
        process = start(SLEEPS[2])
        until((machine.image.volume / "began").exists)
        (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(first), signal.SIGTERM)
        assert machine.gone() == 75 and provider.calls == []


@pytest.mark.slow
class TestInTheImage:
    """Through the real entrypoint and the real `run`, with a trainer that is a line of shell."""

    def start(self, machine: Machine, script: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        own = {"STOKER_PROVIDER_URL": machine.provider.url, "STOKER_CLOCK": machine.provider.url}
        with machine.said.open("wb") as said:
            machine.process = subprocess.Popen(
                [str(machine.image.bin / script), *arguments],
                env={**machine.image.environment, **own, "STOKER_TAG": machine.tag, **variables},
                cwd=machine.image.volume,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        machine.provider.machine = machine.process.pid
        return machine.process

    @pytest.mark.parametrize("script", ["entrypoint", "run"])
    def test_the_machine_ends_after_the_last_sync(self, machine, provider, script):
        image = machine.image
        (image.run_folder / "checkpoints" / "step-00000002").mkdir(parents=True)
        (image.run_folder / "checkpoints" / "step-00000002" / "manifest.json").write_text("{}")
        quick = {"STOKER_BACKOFF": "0", "STOKER_REMOTE": "file:///nonexistent/store"}
        image.attempts("exit 0", "exit 0", 'cat "$stoker_kept" >where; touch synced')
        self.start(machine, script, STOKER_END_INSTANCE="1", **quick, **RUNPOD)
        machine.gone()
        assert (image.volume / "synced").exists(), machine.words()
        assert (image.volume / "where").read_text() == f"{image.run_folder}\nfile:///nonexistent/store\n", (
            "where the keeper sees signs of life, and what is to be sent where"
        )
        assert provider.told() == [f"DELETE {POD}"]

    def test_a_machine_that_cannot_run_the_image_does_not_bill_on(self, machine, provider):
        (machine.image.home / "profile.json").write_text("{")
        self.start(machine, "entrypoint", STOKER_END_INSTANCE="1", **RUNPOD)
        machine.gone()
        assert "build it again" in machine.words() and provider.told() == [f"DELETE {POD}"]

    def test_help_and_a_dry_run_start_no_keeper(self, machine, provider):
        asked = {"STOKER_END_INSTANCE": "1", "STOKER_TAG": machine.tag, **RUNPOD}
        assert machine.image.run("run", "--help", **asked).returncode == 0
        assert machine.image.run("run", "--dry-run", **asked).returncode == 0
        assert provider.calls == []

    def test_docker_stop_saves_and_ends_nothing(self, machine, provider):
        machine.image.attempts("trap 'exit 75' TERM; touch began; while :; do sleep 0.05; done")
        process = self.start(machine, "entrypoint", STOKER_END_INSTANCE="1", STOKER_GRACE="20", **RUNPOD)
        until((machine.image.volume / "began").exists)
        process.terminate()
        assert machine.gone() == 75 and provider.calls == []
        until(lambda: not alive(process.pid))


MAPPING = "HF_TOKEN=STOKER_1A2B3C4D_HF_TOKEN, WANDB_API_KEY=STOKER_99_WANDB_API_KEY"
KEPT = {"STOKER_1A2B3C4D_HF_TOKEN": "hf_hush's", "STOKER_99_WANDB_API_KEY": "w-hush"}


@pytest.mark.slow
class TestSecretsUnderOtherNames:
    """STOKER_SECRETS: a provider's store keeps them under the hash of their content."""

    @pytest.fixture
    def image(self, tmp_path, environment):
        found = Image(tmp_path / "image", environment)
        found.attempts('printf "%s %s" "$HF_TOKEN" "$WANDB_API_KEY" >seen')
        return found

    def test_they_are_there_for_all_that_run_does(self, image):
        done = image.run("run", STOKER_SECRETS=MAPPING, **KEPT)
        assert (image.volume / "seen").read_text() == "hf_hush's w-hush"
        assert "hush" not in done.stdout + done.stderr

    def test_a_log_in_by_ssh_has_them_too(self, image, tmp_path):
        entries = {"STOKER_SECRETS": MAPPING, **KEPT}
        (tmp_path / "environ").write_text("".join(f"{name}={value}\0" for name, value in entries.items()))
        image.run("run", STOKER_INIT_ENVIRON=str(tmp_path / "environ"))
        assert (image.volume / "seen").read_text() == "hf_hush's w-hush"

    def test_what_was_typed_rules(self, image):
        image.run("run", STOKER_SECRETS=MAPPING, HF_TOKEN="hf_mine", **KEPT)
        assert (image.volume / "seen").read_text() == "hf_mine w-hush"

    def test_one_that_is_missing_is_said_and_does_not_stop_the_run(self, image):
        done = image.run("run", STOKER_SECRETS="HF_TOKEN=STOKER_GONE")
        assert done.returncode == 0 and "HF_TOKEN was to come from STOKER_GONE" in done.stderr

    @pytest.mark.parametrize("mapping", ["HF_TOKEN=hf_hush-hush", "HF_TOKEN", "A B=C", "=X"])
    def test_what_is_no_mapping_is_refused_without_its_words(self, image, mapping):
        done = image.run("run", STOKER_SECRETS=mapping)
        assert done.returncode == 2 and "STOKER_SECRETS is not NAME=OTHER" in done.stderr
        assert "hush" not in done.stderr and not (image.volume / "seen").exists()

    def test_help_says_no_more_than_that_it_is_set(self, image):
        assert "STOKER_SECRETS" in (said := image.run("run", "--help", STOKER_SECRETS=MAPPING, **KEPT).stdout)
        assert "1A2B3C4D" not in said


def test_end_instance_typed_by_hand_says_how_and_needs_only_process_one(tmp_path, environment, provider):
    image = Image(tmp_path / "image", environment)
    entries = {**VAST, "STOKER_PROVIDER_URL": provider.url}
    (tmp_path / "environ").write_text("".join(f"{name}={value}\0" for name, value in entries.items()))
    known = {"STOKER_INIT_ENVIRON": str(tmp_path / "environ")}
    assert image.run("end-instance", "--how").returncode == 2
    assert "vast instance 20118481" in image.run("end-instance", "--how", **known).stdout and provider.calls == []
    assert image.run("end-instance", **known).stdout.startswith("taken: ")
    assert json.dumps(provider.calls[0].body) == "{}"
