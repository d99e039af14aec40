"""The loader: what a rank sees at a step is a pure function; nothing is read twice or skipped."""

from __future__ import annotations

import gc
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from trainer.errors import TrainerError

pytest.importorskip("numpy")

import numpy as np

from trainer.data.order import Order

pytestmark = pytest.mark.usefixtures("torch")


def numbered(sizes, context):
    """A split whose token t of shard s is 1000 * s + t, so that a token tells where it was."""
    from trainer.data.origins import Memory
    from trainer.data.split import Split

    arrays = [np.arange(size + 1, dtype=np.uint32) + 1000 * shard for shard, size in enumerate(sizes)]
    return Split("train", Memory(arrays), sizes, context)


def loader(split, batch, rank=0, world=1, prefetch=0, group=2, **more):
    """Of an order with seed 3."""
    from trainer.data.loader import Loader

    return Loader(split, Order(split.shards, 3, group), batch, rank, world, split.context, prefetch, **more)


def read_ahead():
    """The threads of loaders."""
    return [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def read(split, steps, batch, world, lengths, micros, prefetch=0):
    """The first tokens of all windows, step by step, ranks in order: (steps, batch)."""
    ranks = []
    for rank in range(world):
        with loader(split, batch, rank, world, prefetch) as one:
            rows = []
            for step in range(steps):
                length = lengths[step % len(lengths)]
                local = batch // world
                micro = max(size for size in range(1, local + 1) if local % size == 0 and size <= micros)
                for inputs, targets in one.micro_batches(step * batch, micro, length):
                    assert inputs.shape == targets.shape == (micro * split.context // length, length)
                    assert (targets == inputs + 1).all() and inputs.dtype == targets.dtype
                    rows.append(inputs.reshape(micro, split.context)[:, 0])
                    assert (inputs.reshape(micro, -1) - rows[-1][:, None] == np.arange(split.context)).all()
            ranks.append(np.concatenate(rows).reshape(steps, local))
    return np.concatenate(ranks, axis=1)


@settings(deadline=None, max_examples=40)
@given(data=some.data())
def test_no_token_is_read_twice_or_skipped_in_an_epoch_for_any_world_size_that_divides(data):
    context = data.draw(some.sampled_from([4, 8]), "context")
    sizes = data.draw(some.lists(some.integers(0, 60), min_size=1, max_size=6), "tokens of the shards")
    windows = sum(size // context for size in sizes)
    sizes = sizes if windows else [context]
    split = numbered(sizes, context)
    batch = data.draw(some.integers(1, split.windows), "batch")
    divisors = [world for world in range(1, batch + 1) if batch % world == 0]
    worlds = data.draw(some.lists(some.sampled_from(divisors), min_size=2, max_size=2), "worlds")
    lengths = data.draw(some.lists(some.sampled_from([1, 2, 4]), min_size=1, max_size=3), "curriculum")
    steps = 2 * -(-split.windows // batch)  # over at least one border of epochs, mostly in the middle of a step
    seen = [read(split, steps, batch, world, lengths, data.draw(some.integers(1, 4), "micro")) for world in worlds]
    assert (seen[0] == seen[1]).all()
    every = sorted(1000 * s + context * window for s, size in enumerate(sizes) for window in range(size // context))
    flat = seen[0].reshape(-1)
    for epoch in range(len(flat) // split.windows):
        assert sorted(flat[epoch * split.windows : (epoch + 1) * split.windows].tolist()) == every


@pytest.mark.parametrize("prefetch", [0, 1, 3, 50])
def test_reading_ahead_changes_nothing(prefetch):
    split = numbered([100, 60, 7], 4)
    assert (read(split, 9, 6, 2, [4, 2], 3, prefetch) == read(split, 9, 6, 1, [4], 1)).all()


@settings(deadline=None, max_examples=25)
@given(some.lists(some.tuples(some.integers(0, 40), some.sampled_from([1, 2, 4]), some.integers(0, 4)), max_size=12))
def test_a_step_may_be_asked_for_in_any_order_and_left_early(asked):
    split = numbered([100, 60], 4)
    with loader(split, 4, prefetch=3) as ahead, loader(split, 4) as plain:
        for step, micro, taken in asked:
            got = [pair for pair, _ in zip(ahead.micro_batches(4 * step, micro, 4), range(taken), strict=False)]
            expected = plain.micro_batches(4 * step, micro, 4)
            assert all((a == b).all() for pair in got for a, b in zip(pair, next(expected), strict=True))


def test_tensors_are_int64_on_the_cpu(torch):
    with loader(numbered([100], 4), 4) as one:
        inputs, targets = next(one.micro_batches(0, 2, 4))
    assert inputs.dtype == targets.dtype == torch.int64 and inputs.device.type == "cpu"
    assert inputs.is_contiguous() and targets.is_contiguous()


@pytest.mark.parametrize(("batch", "world", "near"), [(10, 4, "8 or 12"), (3, 4, "4"), (0, 2, "2"), (9, 2, "8 or 10")])
def test_a_batch_that_does_not_divide_names_the_nearest_that_do(batch, world, near):
    from trainer.data.loader import check_batch

    with pytest.raises(TrainerError, match=f"train.batch = {batch} does not divide over {world} ranks") as caught:
        check_batch(batch, world)
    assert f"set train.batch to {near}," in caught.value.next_step


def test_a_micro_batch_that_does_not_divide_names_the_nearest_that_do():
    with loader(numbered([100], 4), 12) as one, pytest.raises(TrainerError, match="micro-batch of 5") as caught:
        one.micro_batches(0, 5, 4)
    assert caught.value.next_step.endswith("4 or 6")


def test_a_length_that_does_not_divide_the_context_is_refused():
    with (
        loader(numbered([100], 4), 4) as one,
        pytest.raises(TrainerError, match=r"3 does not divide model\.context = 4"),
    ):
        one.micro_batches(0, 1, 3)


def test_a_split_smaller_than_one_batch_is_refused():
    with pytest.raises(TrainerError, match="holds 2 windows of 4 tokens, less than one batch of 3"):
        loader(numbered([11], 4), 3)


def test_an_epoch_is_counted_in_windows():
    with loader(numbered([40], 4), 5) as one:
        assert one.epoch(0) == 0.0 and one.epoch(15) == 1.5


class Breaking:
    """A split that fails when window 5 of its 8 is read."""

    windows, shards, context = 8, (8,), 4

    def fill(self, shards, windows, inputs, targets):
        if 5 in windows.tolist():
            raise TrainerError("the disk went away", "", 3)

    def want(self, now, after):
        pass


@pytest.mark.parametrize("prefetch", [0, 2])
def test_an_error_of_the_reading_thread_arrives_at_its_own_micro_batch_and_again_when_asked_again(prefetch):
    place = Order((8,), 3, 2).at(0, np.arange(8))[1].tolist().index(5)
    with loader(Breaking(), 8, prefetch=prefetch) as one:
        for _ in range(2):
            step = one.micro_batches(0, 1, 4)
            for _ in range(place):
                next(step)
            with pytest.raises(TrainerError, match="the disk went away"):
                next(step)


def test_closing_ends_the_thread_and_what_is_asked_after_it_is_an_error():
    before = len(read_ahead())
    one = loader(numbered([100], 4), 4, prefetch=2)
    step = one.micro_batches(0, 1, 4)
    next(step)
    assert len(read_ahead()) == before + 1
    one.close()
    one.close()
    assert len(read_ahead()) == before
    with pytest.raises(RuntimeError, match="closed"):
        next(step)


def test_a_forgotten_loader_leaves_no_thread():
    before = len(read_ahead())
    next(loader(numbered([100], 4), 4, prefetch=2).micro_batches(0, 1, 4))
    gc.collect()
    assert len(read_ahead()) == before


def test_evaluation_reads_every_window_once_in_order_and_all_ranks_equally_often():
    from trainer.data.loader import in_order

    split, seen, pairs = numbered([23, 3, 40], 4), [], []
    for rank in range(3):
        mine = list(in_order(split, 2, 4, 2, rank, 3))
        pairs.append([tuple(inputs.shape) for inputs, _ in mine])
        seen += [inputs[targets != -100].tolist() for inputs, targets in mine]
        assert all((targets[targets != -100] == inputs[targets != -100] + 1).all() for inputs, targets in mine)
    assert pairs[0] == pairs[1] == pairs[2] == [(4, 2)] * 3
    assert sorted(token for part in seen for token in part) == [*range(20), *range(2000, 2040)]
    assert sum(int((targets != -100).sum()) for _, targets in in_order(split, 2, 4, 4, windows=3)) == 12


def test_the_first_batch_after_a_seek_to_step_a_million_comes_within_50_ms():
    class Huge:
        windows, shards = 10**8, (10**8 // 4,) * 4

        def fill(self, shards, windows, inputs, targets):
            inputs[:] = windows[:, None]

        def want(self, now, after):
            pass

    from trainer.data.speed import SEEK, measure

    assert SEEK == 10**6
    assert min(measure(Huge(), Huge.shards, 64, 16, seconds=0.01)["seek_ms"] for _ in range(3)) < 50


def test_the_loader_is_twenty_times_faster_than_a_small_step(torch):
    """The step is one matrix product and its gradients for each token: less than any model here does."""
    from trainer.data.speed import measure

    context, batch = 256, 8
    split = numbered([1 << 18], context)
    rate = max(measure(split, split.shards, batch, context, seconds=0.1)["tokens_per_s"] for _ in range(3))
    weight = torch.zeros(256, 768, requires_grad=True)
    table = torch.nn.Embedding(256, 768)
    tokens = torch.zeros(batch, context, dtype=torch.int64)
    best = 1e9
    for _ in range(3):
        began = time.perf_counter()
        torch.nn.functional.cross_entropy((table(tokens) @ weight.T).flatten(0, 1), tokens.flatten()).backward()
        best = min(best, time.perf_counter() - began)
    assert rate > 20 * batch * context / best
