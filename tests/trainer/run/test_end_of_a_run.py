"""A run says at which step it ended and why, where the laptop can read it: beside the checkpoints at the store."""

from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.run import ended
from trainer.run.ends import ENDS, End
from trainer.run.stop import StopRequest


def trained(config, folder, stop=None):
    from trainer.run.loop import train

    return train(config, folder, stop or StopRequest())


@pytest.mark.usefixtures("torch")
class TestATraining:
    def test_its_last_step_is_done(self, tmp_path, small):
        small.train.steps = small.checkpoint.every = (
            4  # the checkpoint is there before anybody knows that it is the last
        )
        assert trained(small, tmp_path) == 0
        assert ended.of_run(tmp_path) == (4, "done")

    def test_the_token_limit_ends_it_early_and_well(self, tmp_path, small):
        small.train.steps = 100
        small.limits.tokens = 3 * small.train.batch * small.model.context
        assert trained(small, tmp_path) == 0
        assert ended.of_run(tmp_path) == (3, "the token limit")

    def test_a_signal_is_told_as_one(self, tmp_path, small):
        stop = StopRequest()
        stop.reason = "SIGTERM"
        assert trained(small, tmp_path, stop) == 75
        assert ended.of_run(tmp_path) == (0, "SIGTERM")

    def test_it_is_sent_with_the_run_and_the_store_s_rows_tell_it(self, tmp_path, small):
        from trainer.commands.checkpoint_rows import at_store, here
        from trainer.stores.open import open_store
        from trainer.sync.push import push

        run, there = tmp_path / "run", tmp_path / "there"
        there.mkdir()
        small.train.steps, small.checkpoint.every, small.checkpoint.keep = 100, 2, 5
        small.limits.tokens = 4 * small.train.batch * small.model.context
        trained(small, run)
        store = open_store(f"file://{there}")
        push(run, store, lambda _: None, lambda _: None)
        store.close()
        told = {row["step"]: row["end"] for row in at_store(f"file://{there}")}
        assert told == {row["step"]: row["end"] for row in here(run)} == {4: "the token limit", 2: None}
        (there / "run" / ended.FILE).unlink()
        assert {row["end"] for row in at_store(f"file://{there}")} == {None}

    def test_a_run_that_goes_on_past_its_end_is_not_ended_where_it_was(self, tmp_path, small):
        from trainer.commands.checkpoint_rows import here

        small.train.steps, small.optim.decay_steps, small.checkpoint.keep = 2, 10, 5
        trained(small, tmp_path)
        shutil.copy(tmp_path / ended.FILE, tmp_path / "old")
        small.train.steps = 4
        trained(small, tmp_path)
        assert ended.of_run(tmp_path) == (4, "done")
        shutil.copy(tmp_path / "old", tmp_path / ended.FILE)  # killed before it could say so again
        assert {row["step"]: row["end"] for row in here(tmp_path)} == {4: None, 2: "done"}


@pytest.mark.parametrize("end", ENDS)
def test_every_end_is_read_as_it_was_written(tmp_path, end: End):
    ended.keep(tmp_path, 7, end)
    assert ended.of_run(tmp_path) == (7, end.reason)
    assert [path.name for path in tmp_path.iterdir()] == [ended.FILE]


@given(st.binary() | st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists).map(
    lambda value: json.dumps({"step": value, "reason": value}).encode()
))  # fmt: skip
def test_a_file_that_may_be_anybody_s_says_nothing(data: bytes):
    assert ended.read(data) is None


def test_without_one_nothing_is_told(tmp_path):
    assert ended.of_run(tmp_path) is None


def test_the_words_of_the_fleet_are_those_of_the_trainer():
    from fleet.life.verdict import FINISHED, LIMITED

    assert {end.reason for end in ENDS if end.exit_code == 0} == FINISHED
    assert {end.reason for end in ENDS} >= LIMITED and not LIMITED & FINISHED
