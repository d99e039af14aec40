"""The order in which windows are read: a pure function of seed, epoch and position, found without a table.

An epoch takes the shards in an order of its own, `group` of them at a time, and reads the windows of one group in an
order given by a keyed permutation of numbers. So a cache needs to hold two groups only, and a seek costs nothing.

The permutation is a Feistel network over pairs (left < a, right < b) with a * b just above the number of windows, and
cycle walking for the few numbers beyond it: J. Black, P. Rogaway, "Ciphers with Arbitrary Finite Domains" (CT-RSA
2002). Its round function is the finaliser of splitmix64: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom
Number Generators" (OOPSLA 2014). Nothing here depends on a library's random generator, whose sequence may change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDS = 12  # with 8 the orders of five windows are measurably uneven
WORD = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, splitmix64's step

Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]


@dataclass(frozen=True)
class _Epoch:
    """The groups of one epoch. shards: in reading order; ends: windows up to the end of each of them; group_starts:
    first position of each group and the total; left, right, keys: the permutation's sizes and key of each group."""

    shards: Numbers
    ends: Numbers
    group_starts: Numbers
    left: Words
    right: Words
    keys: Words


class Order:
    """Which window of which shard stands at a position of an epoch.

    windows_per_shard: how many each has (0 is skipped). group: shards whose windows are mixed. Every epoch is a
    bijection between its positions 0 .. windows - 1 and all windows.
    """

    def __init__(self, windows_per_shard: Sequence[int], seed: int, group: int) -> None:
        self.counts = np.asarray(windows_per_shard, dtype=np.int64)
        self.windows = int(self.counts.sum())
        self.seed = seed
        self.group = max(1, group)
        self._epochs: dict[int, _Epoch] = {}

    def at(self, epoch: int, positions: NDArray[np.integer[Any]]) -> tuple[Numbers, Numbers]:
        """(shard, window in it) of each position, both int64. Cost: O(1) each, once O(shards) for the epoch."""
        table = self._epoch(epoch)
        places = positions.astype(np.int64)
        group = np.searchsorted(table.group_starts, places, side="right") - 1
        starts = table.group_starts[group]
        sizes = table.group_starts[group + 1] - starts
        drawn = starts + _permuted(
            (places - starts).astype(np.uint64),
            sizes.astype(np.uint64),
            table.left[group],
            table.right[group],
            table.keys[group],
        )
        slot = np.searchsorted(table.ends, drawn, side="right")
        before = table.ends[slot] - self.counts[table.shards[slot]]
        return table.shards[slot], drawn - before

    def run(self, start: int, count: int) -> tuple[Numbers, Numbers]:
        """(shard, window) of the global window numbers start .. start + count - 1, over the ends of epochs."""
        parts = []
        while count > 0:
            epoch, position = divmod(start, self.windows)
            here = min(count, self.windows - position)
            parts.append(self.at(epoch, np.arange(position, position + here, dtype=np.int64)))
            start, count = start + here, count - here
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def group_of(self, number: int) -> tuple[int, int]:
        """(epoch, group in it) of a global window number."""
        epoch, position = divmod(number, self.windows)
        return epoch, int(np.searchsorted(self._epoch(epoch).group_starts, position, side="right")) - 1

    def after(self, epoch: int, group: int) -> tuple[int, int]:
        """The group that comes after one, in the next epoch after the last."""
        last = group + 2 >= len(self._epoch(epoch).group_starts)
        return (epoch + 1, 0) if last else (epoch, group + 1)

    def shards_of(self, epoch: int, group: int) -> list[int]:
        """The shards of a group, in reading order."""
        shards = self._epoch(epoch).shards
        return [int(shard) for shard in shards[group * self.group : (group + 1) * self.group]]

    def _epoch(self, epoch: int) -> _Epoch:
        if epoch not in self._epochs:
            while len(self._epochs) >= 4:  # a step may reach over a border, and what reads ahead over the next
                del self._epochs[next(iter(self._epochs))]
            self._epochs[epoch] = self._planned(epoch)
        return self._epochs[epoch]

    def _planned(self, epoch: int) -> _Epoch:
        key = _mixed(_mixed(self.seed & WORD) + (epoch + 1) * GOLDEN & WORD)
        used = np.flatnonzero(self.counts)
        draws = _mix(used.astype(np.uint64) + np.uint64(key))
        shards = used[np.argsort(draws, kind="stable")].astype(np.int64)
        ends = np.cumsum(self.counts[shards])
        lasts = np.minimum(np.arange(self.group, len(shards) + self.group, self.group), len(shards)) - 1
        group_starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[lasts]])
        sizes = [int(size) for size in np.diff(group_starts)]
        left = [math.isqrt(size - 1) + 1 for size in sizes]
        right = [-(-size // a) for size, a in zip(sizes, left, strict=True)]
        keys = [_mixed(key + (number + 1) * GOLDEN & WORD) for number in range(len(sizes))]
        return _Epoch(shards, ends, group_starts, *(np.array(row, dtype=np.uint64) for row in (left, right, keys)))


def _permuted(numbers: Words, sizes: Words, left: Words, right: Words, keys: Words) -> Numbers:
    """Each number (below its size) through its group's permutation."""
    result = _network(numbers, left, right, keys)
    beyond = np.flatnonzero(result >= sizes)
    while beyond.size:
        result[beyond] = _network(result[beyond], left[beyond], right[beyond], keys[beyond])
        beyond = beyond[result[beyond] >= sizes[beyond]]
    return result.astype(np.int64)


def _network(numbers: Words, left: Words, right: Words, keys: Words) -> Words:
    high, low = numbers // right, numbers % right
    for turn in range(0, ROUNDS, 2):
        high = (high + _round(low, turn, keys) % left) % left
        low = (low + _round(high, turn + 1, keys) % right) % right
    return high * right + low


def _round(half: Words, turn: int, keys: Words) -> Words:
    """A half is below 2^56, so that no two rounds ask for the same word."""
    return _mix((half + np.uint64(turn << 56)) ^ keys)


def _mix(words: Words) -> Words:
    """splitmix64's finaliser; arrays of uint64 wrap round."""
    mixed = words * np.uint64(GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _mixed(word: int) -> int:
    return int(_mix(np.array([word], dtype=np.uint64))[0])
