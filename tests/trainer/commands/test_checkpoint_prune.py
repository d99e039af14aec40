"""`checkpoints prune`: room is made, and what may never go never goes."""

from __future__ import annotations

import io
import json
import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainer.commands.plain import OPTIMIZER, STORE, WEIGHTS, at_store, checkpoint, flip, steps
from trainer.checkpoint import folder, manifest, thin, verify


@pytest.fixture
def run(tmp_path):
    made = tmp_path / "run"
    for step in (10, 20, 30, 40, 50):
        checkpoint(made, step, best=(3.0, 20) if step >= 20 else (4.0, 10))
    return made


def path_of(run, step):
    return run / "checkpoints" / folder.name_of(step)


def test_all_but_the_newest_and_the_best_go(command, run):
    said = command("checkpoints", "prune", run, "--keep", "2", "--yes")
    assert said.code == 0 and steps(run) == [50, 40, 20]
    assert "step-00000050 verifies and stays" in said.err and "freed" in said.out


def test_the_runs_own_settings_are_the_default(command, run):
    (run / "config.json").write_text(json.dumps({"checkpoint": {"keep": 1, "keep_every": 30}}))
    command("checkpoints", "prune", run, "--yes")
    assert steps(run) == [50, 30, 20]


def test_without_settings_three_stay(command, run):
    command("checkpoints", "prune", run, "--yes")
    assert steps(run) == [50, 40, 30, 20]


def test_the_best_stays_also_where_its_pointer_is_gone(command, run):
    (run / "checkpoints/best").unlink()
    command("checkpoints", "prune", run, "--keep", "1", "--yes")
    assert steps(run) == [50, 20]


def test_what_a_required_store_has_not_got_stays(command, run):
    (run / "config.json").write_text(json.dumps({"checkpoint": {"keep": 1, "remote": STORE, "require_remote": True}}))
    command("checkpoints", "prune", run, "--yes")
    assert steps(run) == [50, 40, 30, 20, 10]
    at_store(run, 10, 40)
    command("checkpoints", "prune", run, "--yes")
    assert steps(run) == [50, 30, 20]


def test_what_another_store_than_the_required_one_has_got_stays(command, run):
    """A `sync` by hand to a second store writes the same sync.json."""
    asked = {"keep": 1, "remote": "file:///elsewhere", "require_remote": True}
    (run / "config.json").write_text(json.dumps({"checkpoint": asked}))
    at_store(run, 10, 40)
    command("checkpoints", "prune", run, "--yes")
    assert steps(run) == [50, 40, 30, 20, 10]


def test_a_damaged_newest_one_is_passed_over_and_the_good_one_behind_it_stays(command, run):
    flip(path_of(run, 50) / OPTIMIZER)
    said = command("checkpoints", "prune", run, "--keep", "1", "--yes")
    assert steps(run) == [50, 40, 20]
    assert "WARNING: step-00000050" in said.err and "step-00000040 verifies" in said.err


def test_nothing_goes_when_none_is_good(command, run):
    for step in (10, 20, 30, 40, 50):
        flip(path_of(run, step) / WEIGHTS)
    said = command("checkpoints", "prune", run, "--keep", "1", "--yes")
    assert said.code == 4 and steps(run) == [50, 40, 30, 20, 10]
    assert "nothing is deleted" in said.err and "verify --all" in said.err


def test_weights_alone_are_no_reason_to_delete_what_can_be_resumed_from(command, tmp_path):
    checkpoint(tmp_path, 10)
    thin.thin(checkpoint(tmp_path, 20))
    command("checkpoints", "prune", tmp_path, "--keep", "1", "--yes")
    assert steps(tmp_path) == [20, 10]


def test_a_dry_run_says_it_all_and_does_nothing(command, run):
    said = command("checkpoints", "prune", run, "--keep", "1", "--dry-run", "--json")
    (plan,) = json.loads(said.out)
    assert [entry["checkpoint"] for entry in plan["checkpoints"]] == ["step-00000010", "step-00000030", "step-00000040"]
    assert (plan["verified"], plan["done"], plan["action"]) == ("step-00000050", False, "delete")
    assert steps(run) == [50, 40, 30, 20, 10]


def test_without_a_terminal_and_without_yes_nothing_goes(command, run, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    said = command("checkpoints", "prune", run, "--keep", "1")
    assert said.code == 4 and "--yes" in said.err and steps(run) == [50, 40, 30, 20, 10]


@pytest.mark.parametrize(("answer", "left"), [("n", [50, 40, 30, 20, 10]), ("", [50, 40, 30, 20, 10]), ("y", [50, 20])])
def test_on_a_terminal_it_asks(command, run, monkeypatch, answer, left):
    ours, theirs = os.openpty()
    with os.fdopen(ours, "w") as keys, os.fdopen(theirs) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        keys.write(answer + "\n")
        keys.flush()
        said = command("checkpoints", "prune", run, "--keep", "1")
    assert "(3 checkpoints)? [y/N]" in said.err
    assert steps(run) == left and said.code == (0 if answer == "y" else 4)


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (["--keep", "0"], "--keep is 0"),
        (["--keep", "two"], "--keep is 'two'"),
        (["--keep-every", "-1"], "--keep-every is -1"),
        (["--remote-keep", "0", "--remote", "x"], "--remote-keep is 0"),
        (["--remote", "x"], "how many stay there"),
        (["--remote-keep", "2"], "which store"),
    ],
)
def test_rules_that_make_no_sense_are_wrong_input(command, run, flags, what):
    said = command("checkpoints", "prune", run, "--yes", *flags)
    assert said.code == 2 and what in said.err and steps(run) == [50, 40, 30, 20, 10]


def test_broken_settings_delete_nothing(command, run):
    (run / "config.json").write_text("{")
    said = command("checkpoints", "prune", run, "--yes")
    assert said.code == 2 and "config.json" in said.err and len(steps(run)) == 5


def test_dropping_the_optimizer_frees_most_and_says_what_it_costs(command, run):
    said = command("checkpoints", "prune", run, "--optimizer", "--keep", "1", "--yes", "--json")
    (plan,) = json.loads(said.out)
    assert plan["bytes"] == 3 * 3000 and plan["done"] is True
    assert steps(run) == [50, 40, 30, 20, 10]
    whole = [step for step in steps(run) if manifest.resumable(manifest.read(path_of(run, step)))]
    assert whole == [50, 20], "the newest and the best stay as they were"
    assert all(verify.fault(path_of(run, step)) is None for step in steps(run))
    assert verify.newest_good(run / "checkpoints", lambda text: None) == path_of(run, 50)
    again = command("checkpoints", "prune", run, "--optimizer", "--keep", "1", "--yes")
    assert again.code == 0 and "nothing has to go" in again.err


def test_a_store_is_pruned_and_the_disk_left_alone(command, run, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(run, store)
    said = command("checkpoints", "prune", run, "--remote", f"file://{store}", "--remote-keep", "2", "--yes")
    assert said.code == 0 and steps(run) == [50, 40, 30, 20, 10]
    assert sorted(steps(store)) == [20, 40, 50]
    assert "step-00000010 is gone from" in said.err


def test_both_can_be_pruned_at_once(command, run, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(run, store)
    flags = ["--keep", "1", "--remote", store, "--remote-keep", "3", "--yes"]
    assert command("checkpoints", "prune", run, *flags).code == 0
    assert (steps(run), steps(store)) == ([50, 20], [50, 40, 30, 20])


def test_a_store_whose_newest_is_damaged_loses_nothing(command, run, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(run, store)
    flip(store / "checkpoints/step-00000050" / WEIGHTS)
    said = command("checkpoints", "prune", "--remote", store, "--remote-keep", "1", "--yes")
    assert said.code == 4 and "nothing is deleted there" in said.err
    assert steps(store) == [50, 40, 30, 20, 10]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_is_damaged_one_good_checkpoint_survives_any_pruning(command, tmp_path_factory, data):
    run = tmp_path_factory.mktemp("any")
    there = sorted(data.draw(st.sets(st.integers(1, 12), min_size=1, max_size=5)))
    for step in there:
        checkpoint(run, step)
    damaged = data.draw(st.sets(st.sampled_from(there)))
    for step in sorted(damaged):
        flip(path_of(run, step) / data.draw(st.sampled_from([WEIGHTS, OPTIMIZER, manifest.MANIFEST])))
    flags = ["--optimizer"] if data.draw(st.booleans()) else []
    keep = data.draw(st.integers(1, 3))
    before = verify.newest_good(run / "checkpoints", lambda text: None)
    said = command("checkpoints", "prune", run, "--keep", keep, "--yes", *flags)
    assert said.code in (0, 4)
    assert verify.newest_good(run / "checkpoints", lambda text: None) == before
    if said.code == 4 or before is None:
        assert steps(run) == there[::-1]
