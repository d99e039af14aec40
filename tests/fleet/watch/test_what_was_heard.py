"""What was heard of a machine is kept in the ledger, now and then, and read again by whoever comes later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.life.signs import Signs
from fleet.watch import memory
from tests.fleet.resume.night import Night

NUMBERS = st.none() | st.integers(0, 10**9)


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    made = Night(tmp_path)
    yield made
    made.ledger.shut()


@given(NUMBERS, NUMBERS, st.none() | st.floats(0.001, 1e5))
def test_its_words_are_read_as_they_were_written(step: int | None, saved: int | None, seconds: float | None):
    found = memory.WORDS.fullmatch(memory.words(Signs(step=step, saved=saved, seconds=seconds)))
    assert found is not None
    assert (found[1] and int(found[1]), found[2] and int(found[2])) == (step, saved)
    assert (found[3] is None) == (seconds is None)


def test_it_is_kept_once_an_hour_and_whenever_somebody_insists(night: Night):
    night.run()
    night.train(minutes=10)
    [known] = night.ledger.live("night")
    for minute in range(0, 180, 10):
        memory.keep(night.ledger, known, Signs(step=minute, saved=minute), night.clock.now())
        night.clock.sleep(600)
    assert night.kinds().count("heard") == 3
    memory.keep(night.ledger, known, Signs(step=999, saved=980, seconds=30.0), night.clock.now(), timedelta(0))
    memory.keep(night.ledger, known, Signs(step=999, saved=980, seconds=30.0), night.clock.now(), timedelta(0))
    assert night.kinds().count("heard") == 4
    assert memory.recalled(night.ledger, known, Signs()) == Signs(step=999, saved=980, seconds=30.0)
    assert memory.recalled(night.ledger, known, Signs(step=1200, saved=1100)).saved == 1100


def test_nothing_heard_is_nothing_kept(night: Night):
    night.run()
    night.train(minutes=10)
    [known] = night.ledger.live("night")
    memory.keep(night.ledger, known, Signs(), night.clock.now(), timedelta(0))
    assert "heard" not in night.kinds() and memory.recalled(night.ledger, known, Signs()) == Signs()
