"""A run whose last step is at its remote is done: no machine is rented to find that out."""

from __future__ import annotations

from fleet.ledger.values import Run
from fleet.resume.saved import Saved, last_step

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
