"""Which step a disk may hold: an old save says nothing of what was made since."""

from __future__ import annotations

import pytest

from fleet.life.signs import Signs
from fleet.watch import memory
from fleet.watch.ahead import made
from tests.fleet.resume.night import Night
from tests.fleet.watch.test_kept_with_an_end import night as night


@pytest.mark.parametrize(
    ("signs", "step"),
    [
        (Signs(), None),
        (Signs(step=480), 480),
        (Signs(saved=100), 100),
        (Signs(step=110, saved=100, seconds=30.0), 100),  # what follows it is made again in five minutes
        (Signs(step=480, saved=100, seconds=30.0), 480),  # three hours without a save: some were not heard
        (Signs(step=110, saved=100), 110),  # nobody knows how long those ten took
        (Signs(step=110, saved=100, seconds=30.0, stop="done"), 110),  # an end is saved
        (Signs(step=100, saved=100, stop="done"), 100),
    ],
)
def test_the_newest_save_counts_while_no_other_can_have_been_missed(signs: Signs, step: int | None):
    assert made(signs) == step


def test_a_save_that_was_kept_is_not_beside_a_step_that_was_heard_later(night: Night):
    night.run()
    night.train(minutes=10)
    [known] = night.ledger.live("night")
    memory.keep(night.ledger, known, Signs(step=105, saved=100, seconds=30.0), night.clock.now())
    assert memory.recalled(night.ledger, known, Signs()).saved == 100
    assert made(memory.recalled(night.ledger, known, Signs(step=140, seconds=30.0))) == 140
    assert made(memory.recalled(night.ledger, known, Signs(step=140, saved=120, seconds=30.0))) == 120
