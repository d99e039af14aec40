"""A run from its deploy to its end, by the tasks as a user types them: it trains in the image that was really built,
its machine is lost, it goes on elsewhere from what was saved, and nothing bills any more when it is over."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.fleet.story.rehearsal import RUN, STEPS, Rehearsal, at_bucket, in_folder, rehearsed, until
from trainer.checkpoint import manifest, verify

pytestmark = pytest.mark.slow
LOST = {"runpod": {"how": "gone"}, "vast": {}, "hyperbolic": {}}
SECRET = "secret-testing"  # of tests/trainer/stores/conftest.py


@pytest.mark.parametrize("name", list(LOST))
def test_a_rented_machine_is_lost_and_the_run_ends_as_if_nothing_had_been(
    name, pushed, docker_host, unbroken, bucket, moto_server, tmp_path, monkeypatch, capsys
):
    remote, steps = f"s3://{bucket.name}/{RUN}", at_bucket(bucket)
    monkeypatch.setenv("STOKER_LEND_KEY", "1")  # a machine of Hyperbolic has no key of its own to end itself with
    with rehearsed(tmp_path, monkeypatch, capsys, name, pushed, docker_host) as user:
        if name == "hyperbolic":
            user.sim(name, "boot", seconds=[10, 20])
        kind = ["--spot"] if name == "vast" else []
        store = {"AWS_ENDPOINT_URL": f"http://{moto_server}", "AWS_DEFAULT_REGION": "us-east-1"}
        with user.freezing(remote, steps):
            first = user.deploy(name, remote, *kind, **store)
        assert first["trains"] and first["step"] >= 1
        trains_as_told(user)

        saved = steps()[-1]
        assert saved < STEPS
        user.sim(name, "preempt", id=first["id"], **LOST[name])
        back = user.json("resume", RUN, "--yes")
        assert back["trains"] and back["from_step"] == saved < back["step"], back
        assert back["id"] != first["id"]

        until(lambda: steps()[-1] == STEPS, "the last checkpoint at the store")
        until(lambda: not any(row["alive"] for row in user.truth(name)), "the machine ends itself")
        again = user.json("resume", RUN, "--yes")
        assert not again["rented"] and "is done" in again["words"], again
        user.said("terminate", RUN, "--yes")
        user.said("reconcile", "--json")

        nothing_left_and_nothing_twice(user, name, {first["id"], back["id"]})
        assert not user.containers(remote)
        user.said("checkpoints.pull", remote, "--run", str(tmp_path / "pulled"), "--step", str(STEPS))
        same(tmp_path / "pulled", unbroken(user.command()))
        assert SECRET.encode() not in (user.books / "fleet.sqlite").read_bytes()


def trains_as_told(user: Rehearsal) -> None:
    """`status` and `logs` show its steps."""
    row = user.row()
    assert row["state"] == "running" and row["step"] >= 1 and row["loss"] > 0, row
    assert '"event": "step"' in user.said("logs", RUN, "--tail", "50").out
    assert Decimal(row["usd_hour"]) > 0 and Decimal(row["spent_usd"]) > 0


def nothing_left_and_nothing_twice(user: Rehearsal, name: str, ids: set[str]) -> None:
    """By the provider's own books: one machine for each wish, none bills, and the ledger counts what was billed."""
    rows = user.truth(name)
    assert {row["id"] for row in rows} == ids and not any(row["alive"] for row in rows), rows
    attempts = user.ledger("attempts")
    assert sorted(one["tag"] for one in attempts) == sorted(row["tag"] for row in rows)
    assert len({one["wish"] for one in attempts}) == len(rows) == 2
    assert not any(float(row["usd_per_hour"]) for row in rows)
    billed = sum(Decimal(row["billed_usd"]) for row in rows)
    (counted,) = [Decimal(row["usd"]) for row in user.ledger("costs")]
    assert billed <= counted * Decimal("1.02") + Decimal("0.01"), "never less than was billed"
    assert counted <= billed * Decimal("1.5") + Decimal("0.05"), (billed, counted)


def same(lost: Path, whole: Path) -> None:
    """Weights, optimizer and generators are equal to the last bit, and whole."""
    (place,) = lost.rglob(whole.name)
    assert not verify.fault(place) and not verify.fault(whole)
    one, other = manifest.read(place), manifest.read(whole)
    assert one["files"] == other["files"] and one["tokens"] == other["tokens"]


def test_on_this_machine_the_container_is_lost_and_the_run_ends_as_if_nothing_had_been(
    pushed, docker_host, unbroken, tmp_path, monkeypatch, capsys
):
    (tmp_path / "store").mkdir()
    remote, steps = f"file://{tmp_path}/store/{RUN}", in_folder(tmp_path / "store")
    monkeypatch.setenv("STOKER_LOCAL_NETWORK", "host")
    with rehearsed(tmp_path, monkeypatch, capsys, "local", pushed, docker_host) as user:
        with user.freezing(remote, steps, least=2):
            first = user.deploy("local", remote)
        row = user.row()
        assert row["state"] == "running" and row["step"] >= 1, row
        assert '"event": "step"' in user.said("logs", RUN).out

        (container,) = user.containers(remote)
        assert container.id == first["id"]
        container.remove(force=True, v=True)
        for volume in user.engine.volumes.list():
            if volume.name == f"stoker-{RUN}":
                volume.remove(force=True)  # the disk is lost too
        *_, before, newest = steps()
        weights = next(tmp_path.glob(f"store/**/step-{newest:08d}/weights-*"))
        weights.write_bytes(weights.read_bytes()[:-1])

        back = user.json("resume", RUN, "--yes")
        assert back["trains"] and back["from_step"] == before < newest, "the newest one was cut off on its way"
        until(lambda: not user.containers(remote), "the run ends")
        again = user.json("resume", RUN, "--yes")
        assert not again["rented"] and "is done" in again["words"], again
        user.said("terminate", RUN, "--yes")
        assert not [one for one in user.engine.containers.list(all=True) if one.id in (first["id"], back["id"])]
        assert [Decimal(row["usd"]) for row in user.ledger("costs")] == [0]
        same(tmp_path / "store", unbroken(user.command()))
        user.engine.volumes.get(f"stoker-{RUN}").remove(force=True)
