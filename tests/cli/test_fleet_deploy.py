"""`offers`, `deploy` and what follows, as a user types them, against simulated providers: one machine for one wish."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.fleet_command import TOKEN, Stage, staged
from tests.fleet.deploy.built import Built, build_small


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, registry: str, ngc: str) -> Built:
    return build_small(tmp_path_factory.mktemp("built"), registry, ngc, "deployed")


@pytest.fixture
def stage(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Stage]:
    """A user whose machines print what a training run prints."""
    (tmp_path / "user").mkdir()
    state = built.copy_state(tmp_path / "state")
    with staged(tmp_path / "user", state, monkeypatch, capsys, bodies="process") as here:
        yield here


@pytest.fixture
def small(built: Built) -> tuple[str, str]:
    return "--profile", str(built.profile)


def test_offers_are_sorted_by_what_finishing_costs(stage: Stage, small: tuple[str, str]):
    found = stage.json("offers", *small)
    costs = [row["to_finish"]["usd"][1] for row in found["offers"]]
    assert len(costs) > 2 and costs == sorted(costs)
    assert {row["provider"] for row in found["offers"]} == {"runpod", "vast"}
    assert all(row["gpu"] == "h100-sxm" and row["count"] == 8 for row in found["offers"])
    assert all(row["why"] for row in found["dropped"])


def test_offers_of_a_gpu_need_no_profile(stage: Stage):
    said = stage("offers", "--gpu", "rtx4090", "--gpu-count", "1", "--provider", "vast")
    assert said.code == 0 and "1 x rtx4090" in said.out and "runpod" not in said.out


def test_a_price_that_nothing_meets_names_the_tight_constraint_and_what_would_do(stage: Stage, small: tuple[str, str]):
    said = stage("offers", *small, "--max-price", "2")
    assert said.code == 1
    error, step = said.err.strip().splitlines()[-2:]
    assert error.startswith("error: no offer will do: the tight constraint is the price: nearest is 8 x h100-sxm at ")
    assert step.startswith("  next: --max-price ")
    assert stage("offers", *small, *step.split()[1:]).code == 0


def test_one_provider_that_is_down_costs_its_own_offers_alone(stage: Stage, small: tuple[str, str]):
    stage.sim("vast", "faults", **{"auth.revoked_midway": {"count": 1000}})
    said = stage("offers", *small)
    assert said.code == 0 and "runpod" in said.out
    assert "warning: vast:" in said.err


def test_a_dry_run_prints_the_requests_and_leaves_no_trace(stage: Stage, small: tuple[str, str], monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    said = stage("deploy", *small, "--dry-run", "--remote", "hf://someone/nights/small")
    assert said.code == 0, said.err
    assert "POST /v2/pods" in said.out and "PUT /api/v0/asks/" in said.out
    assert TOKEN not in said.out + said.err and "key-of-" not in said.out + said.err
    assert not (stage.books / "fleet.sqlite").exists()
    assert stage.truth("runpod") == [] and stage.truth("vast") == []
    document = stage.json("deploy", *small, "--dry-run")
    assert document["dry_run"] and document["requests"][0]["method"] in ("POST", "PUT")


def test_what_is_typed_of_a_training_reaches_a_machine_without_a_gpu_though_nothing_is_estimated(
    stage: Stage, built: Built
):
    cpu = ("--profile", "cpu", "--image", f"{built.home}:{built.tag}", "--provider", "vast", "--hours", "1")
    typed = ("--steps", "7", "--set", "optim.lr=0.002", "--depth", "4")
    made = stage.json("deploy", *cpu, *typed, "--dry-run")
    run = next(" ".join(line) for line in texts(made["requests"]) if "--steps" in " ".join(line))
    assert "bin/run --steps 7 " in run
    assert all(f"--set {word}" in run for word in ("optim.lr=0.002", "model.depth=4"))
    assert any("neither hours nor dollars are estimated" in note for note in made["notes"]), made["notes"]
    assert not any("estimated" in note for note in stage.json("deploy", *cpu, "--dry-run")["notes"])


def texts(value: object) -> Iterator[list[str]]:
    """Every text in a document, alone, and every list of texts as they stand."""
    if isinstance(value, str):
        yield [value]
    elif isinstance(value, list) and all(isinstance(one, str) for one in value):
        yield value
    elif isinstance(value, (list, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts(one)


def test_without_a_yes_nothing_is_rented(stage: Stage, small: tuple[str, str]):
    said = stage("deploy", *small)
    assert said.code == 4 and "nobody is here to say yes" in said.err and "--yes" in said.err
    assert "to finish" in said.out and "stops at" in said.out
    assert stage.truth("runpod") == [] and stage.truth("vast") == []


@pytest.mark.parametrize("provider", ["runpod", "vast"])
def test_a_deploy_ends_with_one_machine_that_trains_and_terminate_with_none(
    stage: Stage, small: tuple[str, str], provider: str
):
    done = stage.json("deploy", *small, "--provider", provider, "--yes")
    assert done["trains"] and done["step"] >= 1 and done["provider"] == provider
    [machine] = stage.truth(provider)
    assert machine["tag"] == done["tag"] and machine["ended"] is None

    [row] = stage.json("status")["runs"]
    assert (row["run"], row["state"], row["id"], row["step"], row["saved_step"]) == (
        "small", "running", done["id"], 3, 3,
    )  # fmt: skip
    assert float(row["left_usd"]) > 0 and row["usd_hour"]
    assert '"step": 3' in stage("logs", "small").out

    again = stage("deploy", *small, "--provider", provider, "--yes")
    assert again.code == 4 and f"`small` runs already: {provider} {done['id']}" in again.err
    assert len(stage.truth(provider)) == 1

    ended = stage("terminate", "small", "--yes")
    assert ended.code == 0 and "gone; the run cost" in ended.out
    assert stage.truth(provider)[0]["ended"] is not None
    second = stage("terminate", "small", "--yes")
    assert second.code == 0 and "nothing to end" in second.out
    assert stage("reconcile").out == "the ledger and the providers agree\n"


def test_a_run_that_ended_leaves_its_name_to_the_next_with_a_number(stage: Stage, small: tuple[str, str]):
    stage.json("deploy", *small, "--yes")
    assert stage("terminate", "--all", "--yes").code == 0
    assert stage.json("deploy", *small, "--yes")["run"] == "small-2"


def test_a_lost_answer_to_the_create_is_found_and_not_repeated(stage: Stage, small: tuple[str, str]):
    stage.sim("vast", "faults", **{"create.drop_after_commit": {"count": 1}})
    done = stage.json("deploy", *small, "--provider", "vast", "--yes")
    assert [row["tag"] for row in stage.truth("vast")] == [done["tag"]]


def test_secrets_reach_the_machine_and_no_other_place(stage: Stage, small: tuple[str, str], monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    said = stage("deploy", *small, "--yes", "--remote", "hf://someone/nights/small")
    assert said.code == 0 and "HF_TOKEN" in said.out
    texts = [said.out, said.err, stage("ledger").out, stage("status", "--json").out]
    texts += [path.read_bytes().decode("latin-1") for path in stage.state.rglob("*") if path.is_file()]
    assert not [text for text in texts if TOKEN in text or "key-of-" in text]


def test_a_secret_in_a_flag_is_refused(stage: Stage, small: tuple[str, str]):
    said = stage("deploy", *small, "--yes", "--env", f"HF_TOKEN={TOKEN}")
    assert said.code == 2 and TOKEN not in said.out + said.err and "export HF_TOKEN" in said.err
    said = stage("deploy", *small, "--yes", "--env", f"HARMLESS={TOKEN}")
    assert said.code == 2 and TOKEN not in said.out + said.err


def test_two_deploys_at_once_are_one_machine(stage: Stage, small: tuple[str, str], built: Built):
    """The second one, in a process of its own, is told who holds the run."""
    import os
    import subprocess
    import sys

    from fleet.clock import open_clock
    from fleet.ledger.opening import open_ledger
    from fleet.ledger.values import Run
    from tests.conftest import ROOT

    with open_ledger(stage.books, open_clock()) as ledger:
        ledger.add_run(Run("small"))
        ledger.wish("small", "deploy")
        command = [sys.executable, str(ROOT / "cli/program.py"), "deploy", *small, "--yes"]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ, stdin=subprocess.DEVNULL)
    assert done.returncode == 4 and f"process {os.getpid()}" in done.stderr, done.stderr
    assert stage.truth("vast") == [] and stage.truth("runpod") == []


def test_a_deploy_that_was_killed_half_way_goes_on_with_its_machine(
    stage: Stage, small: tuple[str, str], monkeypatch: pytest.MonkeyPatch
):
    from fleet.deploy import waiting

    def killed(*_: object) -> str:
        raise SystemExit(137)  # as a kill would: no word, and the wish stays open

    with monkeypatch.context() as broken:
        broken.setattr(waiting.ready, "__code__", killed.__code__)
        assert stage("deploy", *small, "--provider", "vast", "--yes").code == 137
    assert len(stage.truth("vast")) == 1
    done = stage.json("deploy", *small, "--provider", "vast", "--yes")
    assert done["trains"]
    assert [row["tag"] for row in stage.truth("vast")] == [done["tag"]]


def test_ctrl_c_while_it_waits_keeps_the_machine_and_tells_its_price(
    stage: Stage, small: tuple[str, str], monkeypatch: pytest.MonkeyPatch
):
    from fleet.deploy import waiting

    def pressed(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(waiting, "until_it_trains", pressed)
    said = stage("deploy", *small, "--yes")
    assert said.code == 75
    assert "is kept and costs" in said.err and "./inv terminate small" in said.err
    assert sum(len(stage.truth(name)) for name in ("runpod", "vast")) == 1


def test_the_ledger_is_exported_for_a_spreadsheet_and_a_script(stage: Stage, small: tuple[str, str]):
    stage.json("deploy", *small, "--yes")
    assert json.loads(stage("ledger").out)["runs"][0]["name"] == "small"
    assert stage("ledger", "--export", "csv", "--what", "costs").out.splitlines()[0] == "run,usd"
    assert stage("ledger", "--export", "xml").code == 2
