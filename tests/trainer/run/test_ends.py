"""Ends: the first limit that is reached ends the run, a signal goes before all, and every rank does the same."""

from __future__ import annotations

import signal

import pytest

from trainer.config import Config
from trainer.run import ends
from trainer.run.stop import StopRequest

NOTHING = {"step": 0, "tokens": 0, "waited": 0, "seconds": 0.0, "dollars": 0.0}


def end(config, stop=None, **seen):
    mine = ends.number(config, stop or StopRequest(), **{**NOTHING, **seen})
    return ends.agree(mine, lambda value: value)


def limited(**limits):
    config = Config()
    config.train.steps = 1000
    for name, value in limits.items():
        setattr(config.limits, name, value)
    return config


@pytest.mark.parametrize(
    ("limits", "seen", "reason", "code"),
    [
        ({}, {"step": 1000}, "done", 0),
        ({"tokens": 10**6}, {"tokens": 10**6}, "the token limit", 0),
        ({"patience": 3}, {"waited": 3}, "no better validation loss", 0),
        ({"hours": 2.0}, {"seconds": 7200.0}, "the time limit", 75),
        ({"dollars": 40.0, "price": 4.0}, {"dollars": 40.0}, "the dollar limit", 75),
    ],
)
def test_each_limit_ends_the_run_with_its_own_word(limits, seen, reason, code):
    assert end(limited(**limits), **seen) == ends.End(reason, code)
    assert end(limited(**limits)) is None


def test_a_limit_of_zero_is_none():
    assert end(limited(), step=999, tokens=10**12, waited=99, seconds=1e9, dollars=1e9) is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_stop_and_can_be_resumed(number):
    stop = StopRequest()
    stop._note(number, None)
    stop._note(signal.SIGINT, None)  # the first one counts
    assert end(limited(), stop, step=1000) == ends.End(number.name, 75)


def test_the_most_urgent_reason_of_any_rank_is_everybodys():
    config, stop = limited(tokens=10), StopRequest()
    stop._note(signal.SIGTERM, None)
    ranks = [
        ends.number(config, StopRequest(), **{**NOTHING, "tokens": 10}),
        ends.number(config, StopRequest(), **NOTHING),
        ends.number(config, stop, **NOTHING),
    ]
    assert ends.agree(ranks[0], lambda _: max(ranks)).reason == "SIGTERM"
