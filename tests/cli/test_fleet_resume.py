"""`resume`, `watch` and `report`, as a user types them, against simulated providers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.fleet_command import TOKEN, Stage, staged
from tests.fleet.deploy.built import Built, build_small


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, registry: str, ngc: str) -> Built:
    return build_small(tmp_path_factory.mktemp("built"), registry, ngc, "resumed")


@pytest.fixture
def stage(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Stage]:
    """A user whose machines print what a training run prints."""
    (tmp_path / "user").mkdir()
    (tmp_path / "store").mkdir()
    state = built.copy_state(tmp_path / "state")
    with staged(tmp_path / "user", state, monkeypatch, capsys, bodies="process") as here:
        yield here


@pytest.fixture
def remote(tmp_path: Path) -> str:
    return f"file://{tmp_path}/store/small"


@pytest.fixture
def small(built: Built, remote: str) -> tuple[str, ...]:
    return "--profile", str(built.profile), "--remote", remote, "--yes"


def living(stage: Stage, provider: str) -> list[str]:
    return [str(row["id"]) for row in stage.truth(provider) if row["ended"] is None]


@pytest.mark.parametrize("provider", [pytest.param("runpod", marks=pytest.mark.slow), "vast"])
def test_a_preempted_run_comes_back_once_and_the_ledger_tells_the_story(
    stage: Stage, small: tuple[str, ...], provider: str
):
    first = stage.json("deploy", *small, "--provider", provider)
    lives = stage.json("resume", "small", "--yes")
    assert not lives["rented"] and "nothing to bring back" in lives["words"]

    stage.sim(provider, "preempt", id=first["id"], force=True)
    said = stage("resume", "small", "--yes")
    left = "nothing to go on from" if provider == "runpod" else "all there is of it"  # a stop wipes a pod's disk
    assert said.code == 4 and left in said.err and "--from-start" in said.err
    assert len(stage.truth(provider)) == 1

    back = stage.json("resume", "small", "--yes", "--from-start", "--provider", provider)
    assert back["rented"] and back["trains"] and back["step"] >= 1 and back["from_step"] is None
    assert living(stage, provider) == [back["id"]] and back["id"] != first["id"]

    told = stage.json("report", "small")
    assert [row["id"] for row in told["machines"]] == [first["id"], back["id"]]
    assert told["machines"][0]["to"] and not told["machines"][1]["to"]
    assert float(told["usd"]) == pytest.approx(sum(float(row["usd"]) for row in told["machines"]), abs=1e-3)
    story = [row["kind"] for row in told["story"]]
    assert story.index("training") < story.index("lost") < story.index("resumed")
    text = stage("report", "small").out
    assert "on 2 machines" in text and "lost" in text


def test_nobody_rents_without_a_yes(stage: Stage, small: tuple[str, ...], monkeypatch: pytest.MonkeyPatch):
    from fleet.deploy import skew
    from profiles.errors import Refused

    first = stage.json("deploy", *small, "--provider", "vast")
    limits = stage.json("report", "small")["limits"]
    stage.sim("vast", "preempt", id=first["id"], force=True)
    said = stage("resume", "small", "--from-start", "--budget", "777", "--spot-then-on-demand")
    assert said.code == 4 and "nobody is here to say yes" in said.err
    assert living(stage, "vast") == []
    told = stage.json("report", "small")
    assert (told["limits"], told["policy"]) == (limits, "any")  # what was typed counts from the yes on
    assert stage("resume", "small", "--from-start", "--budget", "none").code == 2

    def off(provider: str, *more: object) -> None:
        raise Refused(f"this machine's clock is 2 h behind {provider}'s")

    monkeypatch.setattr(skew, "refuse", off)
    said = stage("resume", "small", "--from-start", "--yes")
    assert said.code == 4 and "2 h behind" in said.err and living(stage, "vast") == []


def test_a_stopped_machine_is_started_again_by_the_word_for_it(stage: Stage, small: tuple[str, ...]):
    first = stage.json("deploy", *small, "--provider", "vast")
    assert stage("stop", "small", "--yes").code == 0
    said = stage("resume", "small", "--yes")
    assert said.code == 4 and "all there is of it" in said.err and "--same starts that machine again" in said.err
    said = stage("resume", "small", "--yes", "--same")
    assert said.code == 0 and "is started again on vast" in said.out, said.err
    assert living(stage, "vast") == [first["id"]] and len(stage.truth("vast")) == 1
    assert "started" in [row["kind"] for row in stage.json("report", "small")["story"]]


def test_a_key_that_is_missing_where_the_run_is_is_the_user_s_to_set(
    stage: Stage, small: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    first = stage.json("deploy", *small, "--provider", "vast")
    monkeypatch.delenv("VAST_API_KEY")
    said = stage("resume", "small", "--yes")
    assert said.code == 2 and "vast: no key" in said.err and "VAST_API_KEY" in said.err
    assert living(stage, "vast") == [first["id"]]


@pytest.mark.slow
def test_limits_and_policy_that_are_typed_are_kept(stage: Stage, small: tuple[str, ...]):
    first = stage.json("deploy", *small, "--provider", "vast")
    stage.sim("vast", "preempt", id=first["id"], force=True)
    stage.json("resume", "small", "--yes", "--from-start", "--same", "--budget", "777", "--hours", "99")
    told = stage.json("report", "small")
    assert (told["limits"]["usd"], told["limits"]["hours"], told["policy"]) == ("777", 99.0, "same")
    assert living(stage, "runpod") == [] and len(living(stage, "vast")) == 1


def test_without_the_ledger_the_provider_s_tags_and_the_environment_are_enough(
    stage: Stage, small: tuple[str, ...], remote: str
):
    first = stage.json("deploy", *small, "--provider", "runpod")
    for name in ("fleet.sqlite", "fleet.sqlite-wal", "fleet.sqlite-shm"):
        (stage.books / name).unlink(missing_ok=True)
    said = stage("resume", "small", "--remote", remote, "--yes")
    assert said.code == 0 and "nothing to bring back" in said.out, said.err
    assert living(stage, "runpod") == [first["id"]]
    [row] = stage.json("status")["runs"]
    assert (row["run"], row["id"]) == ("small", first["id"])

    stage.sim("runpod", "preempt", id=first["id"], how="exited")
    bare = stage("resume", "small", "--yes", "--from-start")
    assert bare.code == 2 and "--profile" in bare.err
    back = stage.json("resume", "small", *small, "--from-start", "--provider", "runpod")
    assert back["rented"] and living(stage, "runpod") == [back["id"]]


@pytest.mark.slow
def test_on_another_laptop_a_machine_that_is_surely_the_run_s_is_taken_and_another_s_is_not(
    stage: Stage, small: tuple[str, ...], remote: str
):
    first = stage.json("deploy", *small, "--provider", "runpod")
    for path in (*stage.books.glob("fleet.sqlite*"), stage.books / "fleet" / "id"):
        path.unlink()
    other = stage("resume", "small", "--remote", f"{remote}-other", "--yes")
    assert other.code == 4 and f"--adopt {first['id']}" in other.err
    said = stage("resume", "small", "--remote", remote, "--yes")
    assert said.code == 0 and "nothing to bring back" in said.out, said.err


def test_a_run_that_nobody_knows_is_told_with_what_would_help(stage: Stage, small: tuple[str, ...], remote: str):
    stage.json("deploy", *small)
    near = stage("resume", "smal", "--yes")
    assert near.code == 2 and "did you mean `small`?" in near.err and "--remote" in near.err
    empty = stage("resume", "other", "--remote", f"{remote}-empty", "--yes")
    assert empty.code == 1 and "no whole checkpoint" in empty.err and "./inv deploy --name other" in empty.err
    assert stage("resume", "small", "--same", "--any", "--yes").code == 2


@pytest.mark.slow
def test_watch_brings_a_lost_run_back_until_its_budget_is_spent(stage: Stage, small: tuple[str, ...]):
    first = stage.json("deploy", *small, "--provider", "vast", "--budget", "20")
    stage.sim("vast", "preempt", id=first["id"], force=True)
    said = stage("watch", "small", "--resume", "--json")
    assert said.code == 0, said.err
    lines = [json.loads(line) for line in said.out.splitlines()]
    states = [line["state"] for line in lines if "state" in line]
    assert "lost" in states and "training" in states
    assert stage.json("report", "small")["state"] == "ended"
    assert all(living(stage, name) == [] for name in ("vast", "runpod"))
    assert sum(float(row["billed_usd"]) for name in ("vast", "runpod") for row in stage.truth(name)) <= 20


def test_watch_without_anything_to_watch_says_so(stage: Stage):
    said = stage("watch")
    assert said.code == 0 and "nothing to watch" in said.err
    assert stage("watch", "nobody").code == 2


def test_ctrl_c_leaves_the_machines_and_says_so(stage: Stage, small: tuple[str, ...], monkeypatch: pytest.MonkeyPatch):
    import fleet.watch.watch as watching

    first = stage.json("deploy", *small, "--provider", "vast")
    inner = watching.once

    def pressed(*given: object) -> object:
        inner(*given)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "once", pressed)
    said = stage("watch", "--resume")
    assert said.code == 75 and f"vast {first['id']} runs on, with the limits in its container," in said.err
    assert "small: training" in said.out and living(stage, "vast") == [first["id"]]


@pytest.mark.slow
def test_secrets_of_now_go_along_and_are_kept_nowhere(
    stage: Stage, small: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    first = stage.json("deploy", *small, "--provider", "vast")
    stage.sim("vast", "preempt", id=first["id"], force=True)
    monkeypatch.delenv("HF_TOKEN")
    lacking = stage("resume", "small", "--yes", "--from-start")
    assert lacking.code == 2 and "HF_TOKEN" in lacking.err
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    said = stage("resume", "small", "--yes", "--from-start")
    assert said.code == 0, said.err
    texts = [said.out, said.err, stage("ledger").out, stage("report", "small", "--json").out]
    texts += [path.read_bytes().decode("latin-1") for path in stage.state.rglob("*") if path.is_file()]
    assert not [text for text in texts if TOKEN in text or "key-of-" in text]
