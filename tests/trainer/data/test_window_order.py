"""The order of windows: every window once an epoch, in another order each, and found without counting up to it."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

pytest.importorskip("numpy")

import numpy as np

from trainer.data.order import Order

FIRST = [(0, 1), (0, 2), (0, 0), (1, 0), (1, 1), (1, 2), (1, 3)]
FAR = [58541407, 47544642, 16318196]
COUNTS = some.lists(some.integers(0, 40), min_size=1, max_size=12).filter(any)


def pairs(order, epoch):
    """All (shard, window) of an epoch, in order."""
    shards, windows = order.at(epoch, np.arange(order.windows))
    return list(zip(shards.tolist(), windows.tolist(), strict=True))


@given(COUNTS, some.integers(), some.integers(1, 14), some.integers(0, 10**9))
def test_an_epoch_is_every_window_once(counts, seed, group, epoch):
    every = [(shard, window) for shard, count in enumerate(counts) for window in range(count)]
    assert sorted(pairs(Order(counts, seed, group), epoch)) == every


@settings(max_examples=20)
@given(COUNTS, some.integers(0, 9), some.integers(1, 14), some.integers(0, 5))
def test_a_place_does_not_depend_on_what_was_asked_before(counts, seed, group, epoch):
    order = Order(counts, seed, group)
    for other in range(7):
        order.at(other, np.arange(1))
    one_by_one = [order.at(epoch, np.array([place])) for place in range(order.windows)]
    assert [(int(shard[0]), int(window[0])) for shard, window in one_by_one] == pairs(Order(counts, seed, group), epoch)


@given(COUNTS, some.integers(1, 14), some.integers(0, 3))
def test_only_the_shards_of_one_group_are_mixed(counts, group, epoch):
    order = Order(counts, 5, group)
    seen = pairs(order, epoch)
    while seen:
        number = epoch * order.windows + order.windows - len(seen)
        shards = order.shards_of(*order.group_of(number))
        size = sum(counts[shard] for shard in shards)
        assert len(shards) <= group and {shard for shard, _ in seen[:size]} == set(shards)
        following = order.after(*order.group_of(number))
        seen = seen[size:]
        assert following == (order.group_of(number + size))


@settings(max_examples=20)
@given(COUNTS, some.integers(0, 100), some.integers(1, 100))
def test_a_run_of_numbers_goes_over_the_ends_of_epochs(counts, start, count):
    order = Order(counts, 5, 2)
    shards, windows = order.run(start, count)
    expected = [pairs(order, number // order.windows)[number % order.windows] for number in range(start, start + count)]
    assert list(zip(shards.tolist(), windows.tolist(), strict=True)) == expected


def test_seed_and_epoch_each_change_the_order():
    orders = [tuple(pairs(Order([50, 50], seed, 2), epoch)) for seed in (0, 1, -1, 2**64 - 2) for epoch in range(5)]
    assert len(set(orders)) == len(orders)


def test_all_orders_of_a_few_windows_come_about_equally_often():
    order = Order([5], 11, 1)
    seen = Counter(tuple(window for _, window in pairs(order, epoch)) for epoch in range(1800))
    assert len(seen) == 120
    chi_squared = sum((count - 15) ** 2 / 15 for count in seen.values())  # 119 degrees of freedom: mean 119, sd 15
    assert chi_squared < 119 + 6 * 15.4


def test_neighbours_are_scattered():
    windows = Order([100_000], 3, 1).at(0, np.arange(100_000))[1]
    steps = np.abs(np.diff(windows))
    assert abs(steps.mean() - 100_000 / 3) < 500  # the mean distance of two random places
    assert abs(np.corrcoef(windows[:-1], windows[1:])[0, 1]) < 0.02


def test_the_order_is_the_same_for_ever():
    """A run that is resumed with a newer version must go on with the same windows."""
    assert pairs(Order([3, 4], 1337, 2), 1) == FIRST
    assert Order([10**8], 1, 8).run(8 * 10**6, 3)[1].tolist() == FAR


@settings(deadline=None)
@given(some.integers(1, 2**40))
def test_a_huge_epoch_needs_no_table(windows):
    order = Order([windows], 7, 1)
    places = np.unique(np.linspace(0, windows - 1, 50).astype(np.int64))
    found = order.at(3, places)[1]
    assert len(set(found.tolist())) == len(places) and found.min() >= 0 and found.max() < windows


def test_a_seek_among_hundreds_of_millions_of_windows_takes_milliseconds():
    best = 1.0
    for _ in range(3):
        began = time.perf_counter()
        Order([32768] * 3052, 1, 8).run(8 * 10**6, 4096)
        best = min(best, time.perf_counter() - began)
    assert best < 0.05
