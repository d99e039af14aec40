"""The keeper that a machine may be lent: it ends its own rental at its limit, with nobody else alive."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.providers.hosts import keeper
from profiles.errors import WrongInput
from tests.conftest import ROOT
from tests.fleet.offers.market import KEY, Market, Reply, Seen, reply
from tests.fleet.providers.hosts.rented_machine import Machine, stop_keeper

pytestmark = pytest.mark.slow
TERMINATE = "/v2/on-demand/virtual-machine-rentals/terminate"


@pytest.fixture
def office() -> Iterator[Market]:
    def answer(seen: Seen) -> Reply:
        return reply({"rentalId": seen.body["rentalId"]})

    made = Market(lambda seen: None if seen.path == TERMINATE else "another path", answer)
    yield made
    made.close()
    assert made.broken_rules == []


def lend(machine: Machine, tmp: Path, office: Market, seconds: int, after: int = 900, well: int | None = None) -> None:
    host = machine.host(tmp)
    folder, url = host.look("stk-1").folder, office.url + TERMINATE
    keeper.lend(host, folder, KEY, url, "48213", seconds, "stk-1", after, well)


def ended(machine: Machine, code: int, output: str = "") -> None:
    """Its container ended with this code and these last words."""
    folder = machine.state / "containers/stk-1"
    folder.mkdir()
    (folder / "state").write_text(f"exited|{code}|2026-01-01T00:00:00Z\n")
    machine.says("output", output)


def often(machine: Machine) -> None:
    """Its pause is a blink: `sleep` is one of the machine's programs."""
    machine.has("sleep", f"#!/bin/sh\nexec {shutil.which('sleep')} 0.1\n")


def asked(office: Market, machine: Machine, most: float = 60.0) -> Seen:
    """The request that ends the rental, and the keeper's own end, after which no key is left."""
    end = time.monotonic() + most
    while not office.seen or (machine.memory / "keeper/key").exists():
        assert time.monotonic() < end, (machine.memory / "keeper/log").read_text()
        time.sleep(0.05)
    return office.seen[-1]


def test_it_ends_the_rental_at_the_limit_and_asks_until_it_is_ended(machine: Machine, tmp_path: Path, office: Market):
    office.script = [Reply(500)]
    lend(machine, tmp_path, office, seconds=0)
    assert asked(office, machine).body == {"rentalId": 48213, "reason": "the machine's own limit"}
    assert [seen.headers["authorization"] for seen in office.seen] == [f"Bearer {KEY}"] * 2


def test_python_does_where_curl_is_missing(machine: Machine, tmp_path: Path, office: Market):
    (machine.bin / "curl").unlink()
    office.script = [Reply(503)]
    lend(machine, tmp_path, office, seconds=0)
    assert asked(office, machine).body["rentalId"] == 48213 and len(office.seen) == 2


@pytest.mark.parametrize(("code", "after", "well"), [(0, 900, 0), (75, 900, 0), (1, 0, 900)])
def test_it_ends_the_rental_some_time_after_the_container(
    machine: Machine, tmp_path: Path, office: Market, code: int, after: int, well: int
):
    ended(machine, code)
    lend(machine, tmp_path, office, 3600, after, well)
    asked(office, machine)


def test_the_keeper_in_the_image_has_no_key_and_is_heard(machine: Machine, tmp_path: Path, office: Market):
    ended(machine, 75, "step 7\nkeeper: idle for 30 minutes: ending this machine\n")
    lend(machine, tmp_path, office, seconds=3600, after=keeper.NEVER, well=keeper.NEVER)
    asked(office, machine)


UNKNOWN = "keeper: stopping: what is at the remote is not known yet\n"
LEFT = f"{UNKNOWN}keeper: stopping: step-00000600 is not at the remote\n"
SENT = f"{UNKNOWN}keeper: stopping: all is at the remote\n"


def looks(machine: Machine, more: int) -> None:
    """The keeper has looked so often again."""
    before = machine.told("calls").count("inspect")
    end = time.monotonic() + 60
    while machine.told("calls").count("inspect") < before + more:
        assert time.monotonic() < end, (machine.memory / "keeper/log").read_text()
        time.sleep(0.05)


@pytest.mark.parametrize(("code", "output"), [(75, LEFT), (0, LEFT), (137, UNKNOWN), (75, f"{LEFT}bye\n")])
def test_what_a_stopped_run_did_not_send_keeps_the_machine(
    machine: Machine, tmp_path: Path, office: Market, code: int, output: str
):
    often(machine)
    ended(machine, code, output)
    lend(machine, tmp_path, office, seconds=3600, after=0, well=0)
    try:
        looks(machine, 3)
        assert office.seen == []
        machine.says("output", output + SENT)
        asked(office, machine)
    finally:
        stop_keeper(machine)


def test_but_not_beyond_its_limit(machine: Machine, tmp_path: Path, office: Market):
    often(machine)
    ended(machine, 75, LEFT)
    lend(machine, tmp_path, office, seconds=2, after=0, well=0)
    asked(office, machine)


def test_words_that_cannot_be_read_keep_it_too(machine: Machine, tmp_path: Path, office: Market):
    often(machine)
    ended(machine, 75, SENT)
    docker = machine.bin / "docker"
    machine.has("docker", docker.read_text().replace("\nlogs)\n", "\nlogs) fail logs\n"))
    machine.says("wrong", "logs=Cannot connect to the Docker daemon\n")
    lend(machine, tmp_path, office, seconds=3600, after=0, well=0)
    try:
        looks(machine, 3)
        assert office.seen == []
        machine.says("wrong", "")
        asked(office, machine)
    finally:
        stop_keeper(machine)


def test_it_is_heard_in_the_words_that_it_says():
    said = "".join((ROOT / "templates/run" / name).read_text("utf-8") for name in ("keeper.py", "traces.py"))
    assert 'say(f"{self.why}: ending this machine")' in said and 'print(f"keeper: {text}"' in said
    assert 'say("stopping: what is at the remote is not known yet")' in said
    assert """say(f"stopping: {f'{Path(path).name} is not' if path else 'all is'} at the remote")""" in said


def test_a_container_that_runs_or_cannot_be_seen_has_not_ended(machine: Machine, tmp_path: Path, office: Market):
    calls = machine.state / "calls"
    lend(machine, tmp_path, office, seconds=3600, after=0)  # not there yet: it is still being pulled
    try:
        before = machine.told("calls").count("inspect")
        end = time.monotonic() + 30
        while machine.told("calls").count("inspect") <= before and time.monotonic() < end:
            time.sleep(0.1)
        assert calls.exists() and office.seen == []
    finally:
        stop_keeper(machine)


def test_its_limit_does_not_move_and_the_key_is_for_root_only(machine: Machine, tmp_path: Path, office: Market):
    lend(machine, tmp_path, office, seconds=3600)
    try:
        lend(machine, tmp_path, office, seconds=0)
        key = machine.memory / "keeper/key"
        assert key.read_text() == KEY and key.stat().st_mode & 0o077 == 0
        shown = subprocess.run(["ps", "axeww", "-o", "args"], capture_output=True, text=True, check=True).stdout
        mine = [line for line in shown.splitlines() if str(machine.memory) in line and "keeper" in line]
        assert mine and not any(KEY in line for line in mine)
        threading.Event().wait(0.5)
        assert office.seen == []
    finally:
        stop_keeper(machine)


def test_the_nearer_limit_of_the_run_counts():
    grace = keeper.GRACE_HOURS
    assert keeper.hours({"TRAINING_HOURS": "8"}, 1) == 8 + grace
    env = {"TRAINING_HOURS": "8", "STOKER_DOLLARS": "20", "STOKER_PRICE": "2.5", "STOKER_DEADLINE": "10800"}
    assert keeper.hours(env, 2) == 4 + grace
    assert keeper.hours(env, 2, 7200.0) == 1 + grace
    assert grace * 3600 < 120  # two minutes after the limit nothing bills


def test_a_run_whose_time_is_over_gets_no_keeper():
    with pytest.raises(WrongInput, match="time is over"):
        keeper.hours({"TRAINING_HOURS": "8", "STOKER_DEADLINE": "10800"}, 1, 10800.0)


def test_where_nothing_outlives_the_machine_it_is_kept_until_its_limit():
    assert keeper.kept({}) == keeper.kept({"STOKER_END_INSTANCE": "0"}) == (keeper.NEVER, keeper.NEVER)
    assert keeper.kept({"STOKER_END_INSTANCE": "1"}) == (0, 0)
    assert keeper.kept({"STOKER_END_INSTANCE": "1", "STOKER_KEEP_MINUTES": "15"}) == (0, 900)


@pytest.mark.parametrize("env", [{}, {"TRAINING_HOURS": "soon"}, {"STOKER_DOLLARS": "5"}, {"TRAINING_HOURS": "nan"}])
def test_a_key_is_not_lent_without_a_limit(env: dict[str, str]):
    with pytest.raises(WrongInput):
        keeper.hours(env, 1)
