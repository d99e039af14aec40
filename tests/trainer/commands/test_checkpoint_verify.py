"""`checkpoints verify`: every byte, here and at a store."""

from __future__ import annotations

import io
import json
import shutil

import pytest

from tests.trainer.commands.plain import OPTIMIZER, WEIGHTS, checkpoint, flip
from trainer.checkpoint import thin
from trainer.commands.checkpoint_speed import LOG, Speed


@pytest.fixture
def run(tmp_path):
    made = tmp_path / "run"
    for step in (10, 20, 30):
        checkpoint(made, step)
    return made


@pytest.fixture
def store(run, tmp_path):
    shutil.copytree(run, tmp_path / "store")
    return f"file://{tmp_path}/store"


def test_the_newest_is_read_to_its_last_byte(command, run):
    said = command("checkpoints", "verify", run)
    assert said.code == 0 and said.out.startswith("step-00000030  whole: 3 files") and "MB/s" in said.out
    (row,) = json.loads(command("checkpoints", "verify", run, "--json").out)["checkpoints"]
    assert row["hashed_bytes"] == row["bytes"] > 0


def test_a_flipped_bit_is_found_and_named(command, run):
    flip(run / "checkpoints/step-00000030" / OPTIMIZER)
    said = command("checkpoints", "verify", run)
    assert said.code == 1 and said.out == f"step-00000030  damaged: {OPTIMIZER} has another sha256\n"
    assert "--all" in said.err
    assert command("checkpoints", "verify", run, "--quick").code == 0  # sizes are as they were


def test_all_are_read_and_the_good_ones_named(command, run):
    flip(run / "checkpoints/step-00000020/manifest.json")
    said = command("checkpoints", "verify", run, "--all", "--json")
    document = json.loads(said.out)
    assert said.code == 1 and document["good"] is False
    assert [row["state"] for row in document["checkpoints"]] == ["whole", "damaged", "whole"]


def test_one_checkpoint_can_be_named(command, run):
    (run / "checkpoints/step-00000030" / WEIGHTS).unlink()
    good = run / "checkpoints/step-00000010"
    assert command("checkpoints", "verify", good).out.startswith("step-00000010  whole")
    assert command("checkpoints", "verify", good / "manifest.json").code == 0
    assert f"{WEIGHTS}: No such file" in command("checkpoints", "verify", run / "checkpoints/step-00000030").out


def test_weights_kept_alone_are_good_and_called_so(command, run):
    thin.thin(run / "checkpoints/step-00000030")
    said = command("checkpoints", "verify", run)
    assert said.code == 0 and said.out.startswith("step-00000030  weights only: 2 files")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (".staging-step-00000040-7", "is being written"),
        (".incoming-step-00000040", "a download that has not ended"),
        ("step-00000040", "there is no checkpoint at"),
    ],
)
def test_what_is_not_there_yet_is_wrong_input(command, run, name, what):
    if name.startswith("."):
        (run / "checkpoints" / name).mkdir()
    said = command("checkpoints", "verify", run / "checkpoints" / name)
    assert said.code == 2 and what in said.err and "->" in said.err


def test_a_store_is_read_to_its_last_byte_and_nothing_kept(command, run, store, tmp_path):
    said = command("checkpoints", "verify", "--remote", store, "--all", "--json")
    document = json.loads(said.out)
    assert said.code == 0 and len(document["checkpoints"]) == 3
    assert all(row["hashed_bytes"] == row["bytes"] for row in document["checkpoints"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "store"]


def test_a_flipped_bit_at_a_store_is_found_but_not_by_a_quick_look(command, store, tmp_path):
    flip(tmp_path / "store/checkpoints/step-00000030" / WEIGHTS)
    said = command("checkpoints", "verify", "--remote", store)
    assert said.code == 1 and f"{WEIGHTS} has another sha256" in said.out
    assert command("checkpoints", "verify", "--remote", store, "--quick").code == 0


def test_one_that_is_on_its_way_to_the_store_is_no_damage(command, store, tmp_path):
    (tmp_path / "store/checkpoints/step-00000030/manifest.json").unlink()
    assert command("checkpoints", "verify", "--remote", store).out.startswith("step-00000020  whole")
    assert command("checkpoints", "verify", "--remote", store, "--all").code == 1


def test_an_empty_store_ends_with_1(command, tmp_path):
    said = command("checkpoints", "verify", "--remote", tmp_path / "nothing")
    assert said.code == 1 and "has no checkpoint" in said.err


def test_a_line_that_is_cut_is_taken_up_where_it_was(tmp_path):
    from trainer.commands.checkpoint_verify import at_store
    from trainer.stores.open import open_store
    from trainer.stores.store import StoreError
    from trainer.sync import remote

    checkpoint(tmp_path, 10)
    inner = open_store(str(tmp_path))
    begins = []

    class Cut:
        """A real store whose first answer ends after 100 bytes."""

        url = inner.url
        list = staticmethod(inner.list)

        def read(self, name, begin=0):
            if name.endswith(WEIGHTS):
                begins.append(begin)
                if len(begins) == 1:
                    yield next(iter(inner.read(name)))[:100]
                    raise StoreError("cut", transient=True)
            yield from inner.read(name, begin)

    (found,) = remote.checkpoints(Cut())
    assert at_store(found, quick=False)["state"] == "whole"
    assert begins == [0, 100]


def test_progress_tells_bytes_rate_and_what_is_left():
    now = [0.0]
    stream = io.StringIO()
    speed = Speed("step-00000030", 4_000_000, stream, lambda: now[0])
    speed(1_000_000)
    assert stream.getvalue() == ""
    now[0] = LOG
    speed(1_000_000)
    assert stream.getvalue() == "trainer: step-00000030: 2.0 MB of 4.0 MB, 0 MB/s, 15 s left\n"
