"""Whole published runs (tests/data/whole_runs.csv): hours and dollars by the planner's own speed, within 15%.

Every line of the file is here; one that misses is marked as missing, and fails once it no longer does.
"""

from __future__ import annotations

import pytest

from bench.rows.plan_whole import runs, setup_of
from fleet.capacity.figure import Figure
from fleet.capacity.finish.bill import finish
from fleet.capacity.finish.goal import Goal
from fleet.capacity.speed.speed import speed

ROWS = {row["name"]: row for row in runs()}
REACH = 0.15
MISSED = {  # by name, why
    "LLaMA-65B": "its layout is not published: how it was cut over 2,048 GPUs and what was checkpointed is assumed",
}


def trained(name: str, price: float = 3.0) -> tuple[float, float, float, float]:
    """Hours and dollars by us and as published: of the iterations alone, without start-up and evaluation."""
    row = ROWS[name]
    setup = setup_of(row)
    bill = finish(setup, speed(setup), Goal(tokens=float(row["tokens"])), Figure(price, "USD", "README's rule"))
    hours, told = bill.parts["training"].value, float(row["hours"])
    return hours, told, hours * price * setup.gpus, told * price * setup.gpus


def each() -> list:
    """Every name, those that are known to miss marked."""
    marks = {name: [pytest.mark.xfail(strict=True, raises=AssertionError, reason=why)] for name, why in MISSED.items()}
    return [pytest.param(name, marks=marks.get(name, [])) for name in ROWS]


def test_what_is_said_to_miss_is_a_line_of_the_file():
    assert len(ROWS) == 6
    assert set(MISSED) <= set(ROWS)


@pytest.mark.parametrize("name", each())
def test_the_hours_and_dollars_of_a_published_run_are_within_15_percent(name):
    hours, told, dollars, paid = trained(name)
    assert hours == pytest.approx(told, rel=REACH)
    assert dollars == pytest.approx(paid, rel=REACH)


def test_nanochat_s_first_run_took_73_dollars_of_iterations(at):
    row = ROWS["nanochat run 1"]
    rate = float(row["tokens"]) / float(row["hours"]) / 3600 / 8
    bill = finish(setup_of(row), at(rate), Goal(tokens=float(row["tokens"])), Figure(3.0, "USD", "README's rule"))
    assert bill.parts["training"].value * 8 * 3 == pytest.approx(73, abs=0.5)
    assert bill.dollars.value > 73


def test_llama_65b_at_its_published_380_tokens_a_second_takes_21_days(at):
    setup = setup_of(ROWS["LLaMA-65B"])
    bill = finish(setup, at(380, 2048), Goal(tokens=1.4e12), None)
    assert bill.parts["training"].value / 24 == pytest.approx(20.8, abs=0.1)
    assert bill.parts["training"].value * 2048 == pytest.approx(1_022_362, rel=0.002)
    assert bill.hours.value > bill.parts["training"].value
