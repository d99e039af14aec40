"""From a rented bare machine to the running container, through the client, over real SSH."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleet.providers.hyperbolic.client import Hyperbolic
from fleet.providers.outcomes import Because, NotCreated
from fleet.providers.values import Instance
from profiles.errors import CheckFailed, OutsideFailed, Refused
from tests.fleet.offers.market import KEY
from tests.fleet.providers.hosts.rented_machine import SECRET, Machine, container, stop_keeper
from tests.fleet.providers.hosts.rented_machine import machine as running
from tests.fleet.providers.hyperbolic.rental_office import TAG, Office, order

pytestmark = pytest.mark.slow


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with running(tmp_path / "machine") as made:
        yield made


@pytest.fixture
def rented(client, office: Office, machine: Machine) -> tuple[Hyperbolic, Instance]:
    """The client, and its rental: this machine."""
    there = client(STOKER_SSH_KEY=str(machine.folder / "key"))
    there.folders = (str(machine.memory),)
    there.launch(order())
    networking = [{"host": "127.0.0.1", "port": machine.port, "user": machine.user}]
    office.rows[0] |= {"status": "Running", "providerData": {"sshNetworking": networking}}
    (one,) = there.instances()
    return there, one


def test_a_bare_machine_runs_the_container_once(rented, machine: Machine):
    there, one = rented
    machine.lacks("docker", "nvidia-ctk")
    for _ in range(2):
        there.settle_in(one, container(), TAG)
    assert len(machine.calls("run")) == 1
    assert machine.container(TAG)["HF_TOKEN"] == SECRET
    machine.says("output", "2026-01-01T00:00:00.000000000Z step 1\n")
    assert list(there.logs(one.id)) == ["step 1"]


def test_another_form_factor_than_ordered_is_sent_back(rented, machine: Machine):
    there, one = rented
    machine.gpus("NVIDIA H100 80GB HBM3")
    with pytest.raises(CheckFailed, match="ordered NVIDIA H100 PCIe"):
        there.settle_in(one, container(), TAG)
    assert machine.calls("pull") == []


def test_another_process_knows_what_was_ordered(rented, machine: Machine, client):
    _, one = rented
    other = client(STOKER_SSH_KEY=str(machine.folder / "key"))
    other.folders = (str(machine.memory),)
    machine.gpus("NVIDIA H100 80GB HBM3")
    with pytest.raises(CheckFailed, match="ordered NVIDIA H100 PCIe"):
        other.settle_in(one, container(), TAG)


def test_another_machine_at_the_address_gets_nothing(rented, machine: Machine):
    there, one = rented
    machine.says("wrong", "pull=TLS handshake timeout\n")
    with pytest.raises(OutsideFailed):
        there.settle_in(one, container(), TAG)
    machine.change_host_key()
    machine.says("wrong", "")
    with pytest.raises(Refused, match="another host key"):
        there.settle_in(one, container(), TAG)
    assert machine.calls("run") == []


def test_without_being_asked_no_key_is_lent(rented, machine: Machine):
    there, one = rented
    there.settle_in(one, container(), TAG)
    assert not (machine.memory / "keeper").exists()
    assert not any(KEY in text for text in machine.left())


def test_a_lent_key_is_there_before_anything_takes_long(rented, machine: Machine, client):
    _, one = rented
    lending = client(STOKER_SSH_KEY=str(machine.folder / "key"), STOKER_LEND_KEY="1")
    lending.folders = (str(machine.memory),)
    machine.says("cuda", "")
    try:
        with pytest.raises(OutsideFailed):
            lending.settle_in(one, container(), TAG)
        assert (machine.memory / "keeper/key").read_text() == KEY
    finally:
        stop_keeper(machine)


def test_a_key_is_not_lent_to_a_run_without_a_limit_and_nothing_is_rented(client, office: Office):
    with pytest.raises(NotCreated, match="the run has none") as refused:
        client(STOKER_LEND_KEY="1").launch(replace(order(), container=container(env={})))
    assert refused.value.because is Because.INVALID
    assert office.market.seen == []
