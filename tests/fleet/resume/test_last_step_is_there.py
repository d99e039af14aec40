"""A run whose last step is at its remote is done: no machine is rented to find that out."""

from __future__ import annotations

import pytest

from fleet.ledger.values import DONE, OPEN, Run
from fleet.resume.resume import resume
from fleet.resume.saved import Saved, last_step
from tests.fleet.resume.night import Night

URL = "s3://bucket/night"


def test_the_steps_of_the_manifest_tell_it_when_the_command_line_did_not():
    assert last_step(Run("night"), [Saved(100, URL, of=100)]) == 100
    assert last_step(Run("night"), [Saved(90, URL, of=100)]) is None
    assert last_step(Run("night"), [Saved(100, URL)]) is None


def test_more_steps_on_the_command_line_outrank_an_old_manifest():
    longer = Run("night", plan={"container": {"command": ["/opt/stoker/bin/run", "--steps", "200"]}})
    assert last_step(longer, [Saved(100, URL, of=100)]) is None


def test_a_checkpoint_that_is_not_whole_ends_nothing():
    assert last_step(Run("night"), [Saved(100, URL, whole=False, of=100), Saved(90, URL, of=100)]) is None


@pytest.mark.parametrize("end", ["the token limit", "no better validation loss"])
def test_a_run_that_ended_early_and_well_has_no_step_left(end: str):
    planned = Run("night", plan={"container": {"command": ["/opt/stoker/bin/run", "--steps", "200"]}})
    found = [Saved(100, URL, of=200, end=end), Saved(90, URL, of=200)]
    assert last_step(planned, found) == last_step(Run("night"), found) == 100


@pytest.mark.parametrize("end", ["the time limit", "the dollar limit", "SIGTERM", "SIGINT", "", "anything"])
def test_a_stop_from_outside_or_at_a_limit_of_time_or_money_is_no_end(end: str):
    assert last_step(Run("night"), [Saved(100, URL, of=200, end=end)]) is None


def test_an_end_that_is_not_at_the_newest_checkpoint_was_gone_past():
    assert last_step(Run("night"), [Saved(110, URL, of=200), Saved(100, URL, of=200, end="the token limit")]) is None


def test_more_steps_outrank_the_end_of_the_old_ones():
    longer = Run("night", plan={"container": {"command": ["/opt/stoker/bin/run", "--steps", "200"]}})
    assert last_step(longer, [Saved(100, URL, of=100, end="done")]) is None


class TestMoreOfIt:
    """Of a run that ended early and well nothing is rented, until a person wants more of it."""

    def ended(self, night: Night) -> int:
        night.run()
        night.dies(night.train(minutes=90), None)
        step = max(night.work.saved)
        night.work.ends[step] = "no better validation loss"
        return step

    @pytest.mark.parametrize("unattended", [False, True])
    def test_it_is_done_and_says_how_to_go_on(self, night: Night, unattended: bool):
        step = self.ended(night)
        done = resume(night.comeback(unattended=unattended), "night")
        assert done.deployed is None and len(night.machines()) == 1
        assert f"is done: step {step}, its last one (no better validation loss), is at" in done.words
        assert "--steps N" in done.words and "--force" in done.words
        assert night.ledger.run("night").state == DONE

    @pytest.mark.parametrize("word", ["force", "more"])
    def test_on_a_word_it_goes_on_and_a_later_loss_is_no_end(self, night: Night, word: str):
        step = self.ended(night)
        resume(night.comeback(), "night")
        done = resume(night.comeback(**{word: True}), "night")
        assert done.deployed is not None and done.step == step
        assert night.ledger.run("night").state == OPEN
        night.dies(night.live()[0], None)  # before anything newer was saved
        assert resume(night.comeback(unattended=True), "night").step == step

    def test_it_ends_well_again_further_on(self, night: Night):
        self.ended(night)
        resume(night.comeback(force=True), "night")
        night.wait(60)
        night.dies(night.live()[0], None)
        night.work.ends[max(night.work.saved)] = "the token limit"
        assert "(the token limit)" in resume(night.comeback(unattended=True), "night").words
        assert night.live() == []
