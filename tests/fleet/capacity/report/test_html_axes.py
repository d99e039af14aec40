"""Ticks and axes, labels that cover nothing, amounts in words."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.capacity.figure import Figure
from fleet.capacity.report import amounts
from fleet.capacity.report.colours import SLOTS, colours
from fleet.capacity.report.labels import Box, Wanted, place
from fleet.capacity.report.ticks import axis, linear_ticks, log_ticks, nice_step

positive = st.floats(1e-4, 1e9)


@given(positive, st.integers(1, 12))
def test_a_step_is_one_two_two_and_a_half_or_five_times_a_power_of_ten(span: float, most: int) -> None:
    step = nice_step(span, most)
    digits = f"{step:.6e}".split("e")[0].rstrip("0").rstrip(".")
    assert digits in ("1", "2", "2.5", "5")
    assert step * most >= span * (1 - 1e-6)


@given(st.floats(0, 1e6), positive, st.integers(2, 12))
def test_linear_ticks_cover_the_range_evenly_and_are_few(low: float, span: float, most: int) -> None:
    high = low + span
    if high - low < 1e-6 * high:
        return
    ticks = linear_ticks(low, high, most)
    slack = 1e-6 * high
    assert ticks[0] <= low + slack and ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= most + 2
    gaps = [b - a for a, b in pairwise(ticks)]
    assert max(gaps) - min(gaps) <= slack


@given(positive, st.floats(1, 1e8), st.integers(3, 10))
def test_logarithmic_ticks_cover_the_range_in_round_numbers(low: float, factor: float, most: int) -> None:
    ticks = log_ticks(low, low * factor, most)
    assert ticks[0] <= low * (1 + 1e-6) and ticks[-1] >= low * factor * (1 - 1e-6)
    assert all(a < b for a, b in pairwise(ticks))
    assert {f"{tick:.3e}"[0] for tick in ticks} <= set("1235")
    assert ticks[1] > low * (1 - 1e-6) and ticks[-2] < low * factor * (1 + 1e-6), "no tick too many at the ends"


@given(st.lists(positive, min_size=1, max_size=20))
def test_an_axis_holds_every_value_and_keeps_their_order(values: list[float]) -> None:
    scale = axis(values, 50, 850)
    pixels = [scale.at(value) for value in sorted(values)]
    assert all(50 <= pixel <= 850 for pixel in pixels)
    assert pixels == sorted(pixels)


def test_an_axis_is_logarithmic_only_over_a_wide_range() -> None:
    assert axis([1, 100], 0, 100).logarithmic
    assert not axis([40, 100], 0, 100).logarithmic
    upwards = axis([40, 100], 400, 0)
    assert upwards.at(100) < upwards.at(40)


frame = Box(0, 0, 880, 440)
spots = st.tuples(st.floats(0, 880), st.floats(0, 440), st.text("abc ×", min_size=1, max_size=25), st.integers(0, 2))


@given(st.lists(spots, max_size=25))
def test_labels_cover_neither_each_other_nor_a_point_and_stay_inside(
    wanted: list[tuple[float, float, str, int]],
) -> None:
    labels = [Wanted(*one) for one in wanted]
    points = [Box(one.x - 6, one.y - 6, one.x + 6, one.y + 6) for one in labels]
    boxes = [placed.box for placed in place(labels, points, frame)]
    for index, box in enumerate(boxes):
        assert box.inside(frame)
        assert not any(box.overlap(other) for other in [*boxes[index + 1 :], *points])


def test_a_label_alone_is_placed_beside_its_point() -> None:
    (placed,) = place([Wanted(400, 200, "8× H100")], [Box(394, 194, 406, 206)], frame)
    assert not placed.far
    assert placed.box.left > 406


def test_a_label_at_the_edge_is_moved_in() -> None:
    (placed,) = place([Wanted(870, 220, "8× H100 SXM5 80GB (fastest)")], [Box(864, 214, 876, 226)], frame)
    assert placed.box.inside(frame)


def test_a_name_without_rank_is_left_out_rather_than_put_far_away() -> None:
    walls = [Box(0, 0, 880, 195), Box(0, 205, 880, 300)]
    assert not place([Wanted(400, 200, "x", 2)], walls, frame)
    assert place([Wanted(400, 250, "x", 0)], [Box(0, 180, 880, 300)], frame), "a name of rank is put further away"


@given(st.lists(st.text(min_size=1, max_size=12), unique=True, max_size=SLOTS))
def test_as_many_terms_as_there_are_colours_each_have_their_own(names: list[str]) -> None:
    assert len(set(colours(names).values())) == len(names)


def test_a_term_has_the_colour_of_its_kind_whatever_else_there_is() -> None:
    assert colours(["weights", "activations"])["activations"] == colours(["activations", "logits"])["activations"]
    assert colours(["FP8 weights", "weights"]) == {"FP8 weights": 7, "weights": 1}


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (65.7e9, "bytes", "65.7 GB"),
        (256.2e9, "bytes", "256 GB"),
        (40e6, "bytes", "0.04 GB"),
        (3.04, "h", "3.0 h"),
        (0.5, "h", "30 min"),
        (0.005, "h", "18 s"),
        (125.4, "h", "125 h"),
        (73.2, "USD", "$73"),
        (7.3, "USD", "$7.30"),
        (12345.6, "USD", "$12,346"),
        (1_384_000_000, "", "1.38B"),
        (99_000, "tokens/s", "99k tokens/s"),
        (4.94e9, "FLOP", "4.94 GFLOP"),
        (0.0715, "s", "72 ms"),
        (0, "tokens", "0 tokens"),
    ],
)
def test_numbers_are_said_with_their_unit(value: float, unit: str, words: str) -> None:
    assert amounts.said(Figure(value, unit, "")) == words


def test_a_range_says_its_unit_once() -> None:
    assert amounts.span(Figure(3, "h", "", 2.7, 3.5)) == "2.7–3.5 h"
    assert amounts.span(Figure(73, "USD", "", 65, 84)) == "$65–$84"
    assert amounts.span(Figure(46, "%", "", 43, 49.5)) == "43–49.5%"
    assert amounts.span(Figure(3, "h", "")) == ""


@given(st.floats(1e-12, 1e15))
def test_rounded_numbers_stay_within_a_percent_and_have_no_exponent(value: float) -> None:
    words = amounts.digits(value)
    assert "e" not in words
    assert float(words.replace(",", "")) == pytest.approx(value, rel=0.006)
