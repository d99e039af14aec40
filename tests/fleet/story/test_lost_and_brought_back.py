"""A run from its deploy to its end, by the tasks as a user types them: it trains in the image that was really built,
its machine is lost, it goes on elsewhere from what was saved, and nothing bills any more when it is over.

Where it is lost is a matter of steps, not of time: the data set hands out no more than the run may have read by then
(handed_out.py). A machine ten times as fast waits there, one ten times as slow gets there; what was saved, what is lost
and where the run goes on are the same numbers everywhere.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.fleet.story.handed_out import STEPS_PER_SHARD
from tests.fleet.story.money import counted_as_billed
from tests.fleet.story.rehearsal import RUN, STEPS, Rehearsal, at_bucket, in_folder, rehearsed, until
from trainer.checkpoint import manifest, verify

pytestmark = pytest.mark.slow
LOST = {"runpod": {"how": "gone"}, "vast": {}, "hyperbolic": {}}
LOST_AT, SAVED, SEEN_BY = 48, [20, 40], 80  # steps: eight are trained twice
LAST_WORDS = f'"step": {LOST_AT},'.encode()
SECRET = "secret-testing"  # of tests/trainer/stores/conftest.py


@pytest.mark.parametrize("name", list(LOST))
def test_a_rented_machine_is_lost_and_the_run_ends_as_if_nothing_had_been(
    name, pushed, docker_host, unbroken, data, bucket, moto_server, tmp_path, monkeypatch, capsys
):
    remote, steps = f"s3://{bucket.name}/{RUN}", at_bucket(bucket)
    monkeypatch.setenv("STOKER_LEND_KEY", "1")  # a machine of Hyperbolic has no key of its own to end itself with
    with rehearsed(tmp_path, monkeypatch, capsys, name, pushed, docker_host) as user:
        if name == "hyperbolic":
            user.sim(name, "boot", seconds=[10, 20])
        kind = ["--spot"] if name == "vast" else []
        store = {"AWS_ENDPOINT_URL": f"http://{moto_server}", "AWS_DEFAULT_REGION": "us-east-1"}
        data.steps(LOST_AT)
        first = user.deploy(name, remote, *kind, **store, **data.variables())
        assert first["trains"] and 1 <= first["step"] <= LOST_AT, first
        until(lambda: user.printed(remote, LAST_WORDS), "the last step that it has data for")
        assert data.sent().index(False) * STEPS_PER_SHARD == LOST_AT, "there it waits"
        until(lambda: steps() == SAVED, "what it saved at the store")
        trains_as_told(user)

        lost = user.now(name)
        user.sim(name, "preempt", id=first["id"], **LOST[name])
        data.steps(SEEN_BY)
        with user.hurried(name, 1):
            back = user.json("resume", RUN, "--yes")
        assert back["trains"] and back["from_step"] == SAVED[-1] < back["step"] <= SEEN_BY, back
        assert back["id"] != first["id"]
        data.all()

        until(lambda: steps()[-1] == STEPS, "the last checkpoint at the store")
        until(lambda: not any(row["alive"] for row in user.truth(name)), "the machine ends itself")
        with user.hurried(name, 2):
            again = user.json("resume", RUN, "--yes")
        assert not again["rented"] and "is done" in again["words"], again
        user.said("terminate", RUN, "--yes")
        user.said("reconcile", "--json")

        nothing_left_and_nothing_twice(user, name, {first["id"], back["id"]}, {first["id"]: lost})
        assert not user.containers(remote)
        user.said("checkpoints.pull", remote, "--run", str(tmp_path / "pulled"), "--step", str(STEPS))
        same(tmp_path / "pulled", unbroken(user.command()))
        kept = (user.books / "fleet.sqlite").read_bytes()
        assert SECRET.encode() not in kept and data.server.reader.encode() not in kept


def trains_as_told(user: Rehearsal) -> None:
    """`status` and `logs` show its steps."""
    row = user.row()
    assert row["state"] == "running" and row["step"] >= 1 and row["loss"] > 0, row
    assert '"event": "step"' in user.said("logs", RUN, "--tail", "50").out
    assert Decimal(row["usd_hour"]) > 0 and Decimal(row["spent_usd"]) > 0


def nothing_left_and_nothing_twice(user: Rehearsal, name: str, ids: set[str], lost: dict[str, str]) -> None:
    """By the provider's own books: one machine for each wish, none bills, and the ledger counts what was billed."""
    rows = user.truth(name)
    assert {row["id"] for row in rows} == ids and not any(row["alive"] for row in rows), rows
    attempts = user.ledger("attempts")
    assert sorted(one["tag"] for one in attempts) == sorted(row["tag"] for row in rows)
    assert len({one["wish"] for one in attempts}) == len(rows) == 2
    assert not any(float(row["usd_per_hour"]) for row in rows)
    counted_as_billed(user, rows, lost)


def same(lost: Path, whole: Path) -> None:
    """Weights, optimizer and generators are equal to the last bit, and whole."""
    (place,) = lost.rglob(whole.name)
    assert not verify.fault(place) and not verify.fault(whole)
    one, other = manifest.read(place), manifest.read(whole)
    assert one["files"] == other["files"] and one["tokens"] == other["tokens"]


def test_on_this_machine_the_container_is_lost_and_the_run_ends_as_if_nothing_had_been(
    pushed, docker_host, unbroken, data, tmp_path, monkeypatch, capsys
):
    (tmp_path / "store").mkdir()
    remote, steps = f"file://{tmp_path}/store/{RUN}", in_folder(tmp_path / "store")
    monkeypatch.setenv("STOKER_LOCAL_NETWORK", "host")
    with rehearsed(tmp_path, monkeypatch, capsys, "local", pushed, docker_host) as user:
        data.steps(LOST_AT)
        first = user.deploy("local", remote, **data.variables())
        assert first["trains"] and 1 <= first["step"] <= LOST_AT, first
        until(lambda: user.printed(remote, LAST_WORDS), "the last step that it has data for")
        assert data.sent().index(False) * STEPS_PER_SHARD == LOST_AT, "there it waits"
        until(lambda: steps() == SAVED, "what it saved at the store")
        row = user.row()
        assert row["state"] == "running" and row["step"] >= 1, row
        assert '"event": "step"' in user.said("logs", RUN).out

        (container,) = user.containers(remote)
        assert container.id == first["id"]
        user.lose()
        *_, before, newest = steps()
        weights = next(tmp_path.glob(f"store/**/step-{newest:08d}/weights-*"))
        weights.write_bytes(weights.read_bytes()[:-1])

        data.steps(SEEN_BY)
        back = user.json("resume", RUN, "--yes")
        assert back["trains"] and back["from_step"] == before < newest, "the newest one was cut off on its way"
        assert before < back["step"] <= SEEN_BY
        data.all()
        until(lambda: not user.containers(remote), "the run ends")
        again = user.json("resume", RUN, "--yes")
        assert not again["rented"] and "is done" in again["words"], again
        user.said("terminate", RUN, "--yes")
        assert not [one for one in user.engine.containers.list(all=True) if one.id in (first["id"], back["id"])]
        assert [Decimal(row["usd"]) for row in user.ledger("costs")] == [0]
        same(tmp_path / "store", unbroken(user.command()))
