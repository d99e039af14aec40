"""What `deploy` and `stop` refuse as a user types it, before anything is ordered or lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.fleet_command import Stage, staged
from tests.fleet.deploy.built import Built, build_small


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, registry: str, ngc: str) -> Built:
    return build_small(tmp_path_factory.mktemp("built"), registry, ngc, "refusing")


@pytest.fixture
def stage(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Stage]:
    (tmp_path / "user").mkdir()
    state, names = built.copy_state(tmp_path / "state"), ("runpod", "hyperbolic")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("STOKER_SSH_KEY", raising=False)
    with staged(tmp_path / "user", state, monkeypatch, capsys, names, bodies="process") as here:
        yield here


@pytest.fixture
def small(built: Built) -> tuple[str, str]:
    return "--profile", str(built.profile)


def test_a_run_whose_only_copy_a_stop_would_wipe_runs_on(stage: Stage, small: tuple[str, str]):
    assert stage("deploy", *small, "--provider", "runpod", "--yes").code == 0
    said = stage("stop", "small", "--yes")
    assert said.code == 4 and "wipes the machine's disk" in said.err and "bills on" not in said.err
    [row] = stage.json("status")["runs"]
    assert row["state"] == "running"


def test_with_a_remote_it_is_stopped_and_its_disk_is_not_said_to_bill(stage: Stage, small: tuple[str, str]):
    where = ("--remote", f"file://{stage.folder}/kept")
    assert stage("deploy", *small, *where, "--provider", "runpod", "--yes").code == 0
    said = stage("stop", "small", "--yes")
    assert said.code == 0 and "its disk is wiped and bills no more" in said.out


def test_hyperbolic_without_an_ssh_key_is_refused_before_the_order(stage: Stage, small: tuple[str, str]):
    said = stage("deploy", *small, "--provider", "hyperbolic", "--yes")
    assert said.code == 2 and "no private SSH key here" in said.err and "ssh-keygen" in said.err
    assert stage.truth("hyperbolic") == []
    said = stage("deploy", *small, "--dry-run")
    assert said.code == 0 and "hyperbolic: its machines are set up over SSH" in said.err


def test_the_value_of_the_user_s_own_key_is_not_shown(stage: Stage, small: tuple[str, str]):
    key = "key-of-runpod-0123456789abcdef0123456789abcdef"
    said = stage("deploy", *small, "--dry-run", "--env", f"FOO={key}")
    assert said.code == 2 and "one of your own keys" in said.err and key not in said.out + said.err


def test_bids_where_there_are_none_are_told(stage: Stage, small: tuple[str, str]):
    said = stage("deploy", *small, "--provider", "runpod", "--spot", "--dry-run")
    assert said.code == 0 and "--spot: runpod has none" in said.err
