"""What can be wrong before and while a machine is rented: one line, a next step, an exit code, and nothing billed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.fleet_command import Stage, staged
from tests.fleet.deploy.built import Built, build_small


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, registry: str, ngc: str) -> Built:
    return build_small(tmp_path_factory.mktemp("built"), registry, ngc, "wrongly-deployed")


@pytest.fixture
def stage(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Stage]:
    (tmp_path / "user").mkdir()
    with staged(tmp_path / "user", built.copy_state(tmp_path / "state"), monkeypatch, capsys, bodies="process") as here:
        yield here


@pytest.fixture
def small(built: Built) -> tuple[str, str]:
    return "--profile", str(built.profile)


def told(stage: Stage, code: int, *words: str) -> tuple[str, str]:
    """The error and the next step of a task that must fail."""
    said = stage(*words)
    lines = said.err.strip().splitlines()
    assert said.code == code, said.err
    assert lines[-2].startswith("error: ") and lines[-1].startswith("  next: "), said.err
    assert "Traceback" not in said.err
    return lines[-2], lines[-1]


def nothing_rented(stage: Stage) -> bool:
    return not any(stage.truth(name) for name in ("runpod", "vast"))


def test_no_key_at_all_says_where_each_comes_from_and_goes(stage: Stage, small: tuple[str, str], monkeypatch):
    for name in ("RUNPOD_API_KEY", "VAST_API_KEY"):
        monkeypatch.delenv(name)
    error, step = told(stage, 2, "deploy", *small, "--yes")
    assert "no key" in error
    assert all(name in step for name in ("RUNPOD_API_KEY", "VAST_API_KEY", "HYPERBOLIC_API_KEY", "console"))


def test_a_named_provider_without_a_key_says_where_to_get_one(stage: Stage, small: tuple[str, str]):
    error, step = told(stage, 2, "offers", *small, "--provider", "hyperbolic")
    assert "hyperbolic: no key" in error and "HYPERBOLIC_API_KEY" in step


def test_a_key_that_is_refused_says_which_and_where_to_get_another(stage: Stage, small: tuple[str, str]):
    for name in ("runpod", "vast"):
        stage.sim(name, "faults", **{"auth.revoked_midway": {"count": 1000}})
    error, step = told(stage, 3, "offers", *small, "--provider", "runpod")
    assert "401" in error and "RUNPOD_API_KEY" in step


@pytest.mark.parametrize(
    ("words", "error", "step"),
    [
        (["--provider", "runpd"], "unknown provider `runpd`", "did you mean `runpod`?"),
        (["--gpu", "h100-smx"], "unknown GPU `h100-smx`", "h100-sxm"),
        (["--max-price", "cheap"], "--max-price 'cheap' is no number", "--max-price 8"),
        (["--budget", "0"], "--budget 0 is too small", "above 0"),
        (["--hours", "-1"], "--hours -1 is too small", "above 0"),
        (["--name", "a run"], "'a run' is no name for a run", "--name a-run"),
        (["--remote", "ftp://there"], "--remote ftp://there is no store", "hf://"),
        (["--remote", "ssh://me:pw1234@host/x"], "--remote holds a password", "environment"),
        (["--env", "A"], "--env A has no value", "NAME=VALUE"),
        (["--min-reliability", "2"], "--min-reliability 2", "at most 1"),
        (["--depth", "7"], "no whole heads", "--depth 6 or 8"),
        (["--gpu-count", "3"], "does not divide among 3 GPUs", "--batch"),
    ],
)
def test_a_wrong_flag_is_told_before_anything_is_asked(
    stage: Stage, small: tuple[str, str], words: list[str], error: str, step: str
):
    found = told(stage, 2, "deploy", *small, "--yes", *words)
    assert error in found[0] and step in found[1]
    assert nothing_rented(stage)


def test_a_profile_whose_image_was_never_built(stage: Stage):
    error, step = told(stage, 2, "deploy", "--profile", "h200-fp8", "--yes")
    assert "no image of profile h200-fp8 has been built here" in error and "./inv build --profile h200-fp8" in step


def test_an_image_that_was_not_pushed(stage: Stage, built: Built, small: tuple[str, str]):
    for path in (stage.state / "record").glob("*.json"):
        path.unlink()
    error, step = told(stage, 2, "deploy", *small, "--yes")
    assert "has not been pushed" in error and "./inv push --profile small" in step


def test_an_image_that_is_no_longer_in_its_registry(stage: Stage, built: Built, small: tuple[str, str], monkeypatch):
    monkeypatch.setenv("STOKER_REGISTRY", built.home + "-elsewhere")
    error, step = told(stage, 2, "deploy", *small, "--yes")
    assert "it has not been pushed" in error and "./inv push --profile small --registry" in step


def test_a_registry_on_this_machine_is_out_of_reach_of_a_rented_one(
    stage: Stage, small: tuple[str, str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STOKER_VAST_URL", "https://vast.invalid")
    monkeypatch.delenv("STOKER_RUNPOD_URL")
    error, step = told(stage, 2, "deploy", *small, "--provider", "vast", "--yes")
    assert "a machine at vast cannot pull from it" in error and "--registry" in step


def test_no_credit_anywhere(stage: Stage, small: tuple[str, str]):
    for name in ("runpod", "vast"):
        stage.sim(name, "credit", usd=0.5)
    error, step = told(stage, 1, "deploy", *small, "--yes")
    assert "the tight constraint is the credit" in error and "0.50 USD of credit are left there" in error
    assert "add credit at " in step
    assert nothing_rented(stage)


def test_no_capacity_anywhere_ends_with_a_table_of_what_was_tried(stage: Stage, small: tuple[str, str]):
    stage.sim("vast", "faults", ask_gone_404={"count": 1000})
    stage.sim("runpod", "faults", capacity_all_400={"count": 1000})
    said = stage("deploy", *small, "--yes")
    assert said.code == 3, said.err
    assert "no machine: " in said.err and "offers tried" in said.err
    rows = [line for line in said.err.splitlines() if line.startswith("  ") and "capacity" in line]
    assert len(rows) >= 2
    assert not [row for name in ("runpod", "vast") for row in stage.truth(name) if row["ended"] is None]
    [run] = stage.json("status")["runs"]
    assert run["state"] == "no machine"


@pytest.mark.parametrize("words", [["logs"], ["ssh"], ["stop", "--yes"], ["terminate", "--yes"]])
def test_an_unknown_run_is_told_with_the_nearest(stage: Stage, words: list[str]):
    from fleet.clock import open_clock
    from fleet.ledger.opening import open_ledger
    from fleet.ledger.values import Run

    with open_ledger(stage.books, open_clock()) as ledger:
        ledger.add_run(Run("nightly"))
    error, step = told(stage, 2, words[0], "nigthly", *words[1:])
    assert "no run `nigthly`" in error and "did you mean `nightly`?" in step


def test_a_run_without_a_machine_says_how_to_get_one(stage: Stage):
    from fleet.clock import open_clock
    from fleet.ledger.opening import open_ledger
    from fleet.ledger.values import Run

    with open_ledger(stage.books, open_clock()) as ledger:
        ledger.add_run(Run("nightly"))
    error, step = told(stage, 2, "logs", "nightly")
    assert "`nightly` has no machine now" in error and "./inv resume nightly" in step
    assert stage("terminate", "nightly").out == "nightly: it had no machine\n"


def test_terminate_wants_to_know_what(stage: Stage):
    assert "which machines?" in told(stage, 2, "terminate", "--run=", "--yes")[0]
    assert stage("terminate", "--all").out == "nothing to end\n"


def test_a_ledger_of_a_newer_version_is_left_alone(stage: Stage, small: tuple[str, str]):
    stage.books.mkdir()
    with sqlite3.connect(stage.books / "fleet.sqlite") as newer:
        newer.execute("PRAGMA user_version = 999")
        newer.execute("CREATE TABLE wishes (x)")
    before = (stage.books / "fleet.sqlite").read_bytes()
    error, step = told(stage, 4, "deploy", *small, "--yes")
    assert step
    assert (stage.books / "fleet.sqlite").read_bytes() == before
    assert nothing_rented(stage), error


def test_a_damaged_ledger_is_moved_aside_and_reconcile_finds_the_machine(stage: Stage, small: tuple[str, str]):
    stage("deploy", *small, "--provider", "vast", "--yes")
    assert len(stage.truth("vast")) == 1
    for path in stage.books.glob("fleet.sqlite*"):
        path.write_bytes(b"not a ledger at all" * 500)
    said = stage("reconcile")
    assert "warning: " in said.err and "reconcile" in said.err
    assert list(stage.books.glob("*bad-*"))
    [row] = stage.json("status")["runs"]
    assert row["provider"] == "vast" and row["run"] == "small"
    assert stage("terminate", "--all", "--yes").code == 0
    assert stage.truth("vast")[0]["ended"] is not None


def test_a_status_with_a_provider_down_shows_what_was_last_seen_and_a_warning(stage: Stage, small: tuple[str, str]):
    stage("deploy", *small, "--provider", "vast", "--yes")
    stage.sim("vast", "faults", **{"auth.revoked_midway": {"count": 1000}})
    stage.sim("vast", "clock", sleep=60)
    said = stage("status")
    assert said.code == 3 and "no answer" in said.out and "last seen" in said.out
    assert "warning: vast:" in said.err
    left = told(stage, 3, "terminate", "small", "--yes")
    assert "may still bill" in left[0].lower()


def test_the_balance_of_an_account_that_does_not_answer_is_not_told_as_nothing(stage: Stage):
    stage.sim("vast", "faults", **{"auth.revoked_midway": {"count": 1000}})
    rows = {row["provider"]: row for row in stage.json("balance")["balances"]}
    assert rows["vast"]["usd"] is None and rows["vast"]["failed"]
    assert rows["runpod"]["usd"] == "1000.00"
