"""Conversations in windows: nothing lost, nothing learned that should not be, the same for any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import TrainerError

pytest.importorskip("torch")

PIECES = st.lists(st.integers(2, 12), min_size=1, max_size=40)


def made(lengths):
    """Encoded conversations of these lengths with ids of their own; the second half of each is learned."""
    rows, first = [], 1
    for length in lengths:
        rows.append((list(range(first, first + length)), [place >= length // 2 for place in range(length)]))
        first += length
    return rows


@given(PIECES)
def test_every_learned_token_is_the_target_of_its_predecessor_exactly_once(lengths):
    from trainer.after.sft import ChatWindows

    windows = ChatWindows(made(lengths), 12, 0)
    found = []
    for number in range(windows.windows):
        inputs, targets = windows.pair(number)
        for before, after in zip(inputs.tolist(), targets.tolist(), strict=True):
            if after != -100:
                assert after == before + 1
                found.append(after)
    assert sorted(found) == sorted(
        one for ids, learned in made(lengths) for one, yes in zip(ids, learned, strict=True) if yes
    )
    assert windows.counted.learned == len(found)


@given(PIECES)
def test_packing_puts_every_piece_into_one_window_and_none_over_its_end(lengths):
    from trainer.after.sft import packed

    rows = packed(lengths, 13)
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    assert all(sum(lengths[number] for number in row) <= 13 for row in rows)
    assert packed(lengths, 13) == rows


def test_without_packing_each_conversation_has_its_window():
    from trainer.after.sft import ChatWindows

    windows = ChatWindows(made([4, 4, 4]), 12, 0, pack=False)
    assert windows.windows == 3
    assert ChatWindows(made([4, 4, 4]), 12, 0).windows == 1


def test_longer_ones_are_cut_and_counted_and_those_without_an_answer_left_are_dropped():
    from trainer.after.sft import ChatWindows

    windows = ChatWindows(made([4, 20, 60]), 12, 0)
    counted = windows.counted
    assert (counted.conversations, counted.cut, counted.dropped) == (3, 2, 1)
    with pytest.raises(TrainerError, match="no answer begins within the context of 12"):
        ChatWindows(made([60]), 12, 0)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_what_a_step_reads_is_the_same_for_any_number_of_ranks(world):
    from trainer.after.sft import ChatSource, ChatWindows
    from trainer.config import Config

    class Rank:
        def __init__(self, rank):
            self.rank, self.size = rank, world

    config = Config()
    config.train.batch, config.model.context = 8, 12
    windows = ChatWindows(made([9] * 30), 12, 0)
    seen = {}
    for ranks in (1, world):
        Rank.size = ranks
        rows = []
        for rank in range(ranks):
            here = Rank(rank)
            here.size = ranks
            source = ChatSource(windows, "x", config, here)
            for sample in (0, 8, 16, 24, 32):
                for inputs, targets in source.micro_batches(sample, 8 // ranks, 12):
                    rows += [(sample, row.tolist(), aim.tolist()) for row, aim in zip(inputs, targets, strict=True)]
            source.close()
        seen[ranks] = sorted(rows)
    assert seen[1] == seen[world]
    firsts = [row[1][0] for row in seen[1] if row[0] < 24]
    assert len(set(firsts)) == len(firsts) == 24  # one epoch has 30 windows: no window twice before its end


def test_the_loader_and_the_evaluation_read_the_same_pairs():
    from trainer.after.sft import ChatWindows

    windows = ChatWindows(made([9, 5, 7, 12]), 12, 0)
    numbers = np.arange(windows.windows)
    inputs, targets = (np.zeros((windows.windows, 12), dtype=np.int64) for _ in range(2))
    windows.fill(np.zeros_like(numbers), numbers, inputs, targets)
    for number in numbers:
        assert np.array_equal(inputs[number], windows.pair(number)[0])
        assert np.array_equal(targets[number], windows.pair(number)[1])
