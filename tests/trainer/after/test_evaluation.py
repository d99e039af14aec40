"""Loss, perplexity and bits per byte are what their definitions say, however the work is shared."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import TrainerError


class Rows:
    """Windows from an array (n, context + 1)."""

    def __init__(self, values):
        self.values = values
        self.windows, self.context = len(values), values.shape[1] - 1

    def pair(self, number):
        """Inputs and targets."""
        return self.values[number, :-1], self.values[number, 1:]


@pytest.fixture
def rows():
    """Eleven windows."""
    return Rows(np.random.default_rng(0).integers(0, 256, (11, 33)))


def test_the_loss_is_the_mean_cross_entropy_of_every_target(torch, model_of, shape, rows):
    from trainer.run.evaluate import evaluate

    model = model_of(shape())
    result = evaluate(model, rows, None, batch=4)
    values = torch.tensor(rows.values)
    with torch.no_grad():
        logits = model(values[:, :-1])
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), values[:, 1:].flatten())
    assert result.loss == pytest.approx(float(expected), abs=1e-5)
    assert result.perplexity == pytest.approx(math.exp(result.loss))
    assert (result.tokens, result.windows, result.bits_per_byte) == (11 * 32, 11, None)


def test_a_model_that_knows_nothing_needs_8_bits_for_a_byte(torch, model_of, shape, rows):
    from trainer.run.evaluate import evaluate

    model = model_of(shape())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    result = evaluate(model, rows, np.ones(256, dtype=np.uint16))
    assert result.bits_per_byte == pytest.approx(8.0, abs=1e-5)
    assert result.bytes == result.tokens


def test_bits_per_byte_counts_the_bytes_of_targets_and_none_for_specials(torch, model_of, shape, rows):
    from trainer.run.evaluate import evaluate

    sizes = np.random.default_rng(1).integers(0, 9, 256).astype(np.uint16)
    result = evaluate(model_of(shape()), rows, sizes)
    size = int(sizes[rows.values[:, 1:]].sum(dtype=np.int64))
    assert result.bytes == size
    assert result.bits_per_byte == pytest.approx(result.loss * result.tokens / math.log(2) / size)


@pytest.mark.parametrize("batch", [1, 2, 3, 8, 100])
def test_the_batch_does_not_change_the_result(torch, model_of, shape, rows, batch):
    from trainer.run.evaluate import evaluate

    model = model_of(shape("llama"))
    assert evaluate(model, rows, None, batch=batch).loss == pytest.approx(evaluate(model, rows, None).loss, abs=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 16])
def test_ranks_share_the_windows_make_equally_many_calls_and_agree_with_one(torch, model_of, shape, rows, size):
    from trainer.run.evaluate import evaluate

    calls: list[int] = []

    class Counting(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, inputs, targets):
            calls[-1] += 1
            return self.inner(inputs, targets)

    class World:
        def __init__(self, rank):
            self.rank, self.size, self.kept = rank, size, None

        def sum(self, totals):
            self.kept = totals.clone()
            return totals

    model = model_of(shape())
    whole = evaluate(model, rows, None, batch=2)
    parts = []
    for rank in range(size):
        calls.append(0)
        world = World(rank)
        try:
            evaluate(Counting(model), rows, None, batch=2, world=world)
        except TrainerError:
            assert size > 11  # a rank without a window has no loss of its own
        parts.append(world.kept if size > 1 else torch.tensor([whole.loss * whole.tokens, whole.tokens, 0.0]))
    nats, tokens, _ = torch.stack(parts).double().sum(0).tolist()
    assert len(set(calls)) == 1
    assert tokens == whole.tokens
    assert nats / tokens == pytest.approx(whole.loss, abs=1e-6)


@given(windows=st.integers(1, 10_000), context=st.integers(1, 4096), tokens=st.integers(0, 10**8))
def test_a_part_of_the_windows_is_spread_evenly_and_has_the_tokens(windows, context, tokens):
    pytest.importorskip("torch")
    from trainer.run.evaluate import chosen

    numbers = chosen(windows, context, tokens).tolist()
    assert len(set(numbers)) == len(numbers)
    assert numbers[0] == 0
    assert numbers[-1] < windows
    if tokens:
        assert len(numbers) * context >= min(tokens, windows * context)
    else:
        assert len(numbers) == windows
    gaps = {b - a for a, b in pairwise(numbers)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_no_window_is_an_error(torch, model_of, shape):
    from trainer.run.evaluate import evaluate

    with pytest.raises(TrainerError, match="not one window"):
        evaluate(model_of(shape()), Rows(np.zeros((0, 33), dtype=np.int64)), None)


def test_the_model_is_in_training_again_afterwards_and_no_gradient_was_made(torch, model_of, shape, rows):
    from trainer.run.evaluate import evaluate

    model = model_of(shape()).train()
    evaluate(model, rows, None)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_each_call_has_a_region_of_its_own(torch, model_of, shape, rows):
    from contextlib import contextmanager

    from trainer.run.evaluate import evaluate

    entered = []

    @contextmanager
    def region():
        entered.append(1)
        yield

    evaluate(model_of(shape()), rows, None, batch=4, autocast=region)
    assert len(entered) == 3


def test_a_split_is_read_over_its_shards_in_order(torch, tmp_path):
    from trainer.run.evaluate import SplitPairs

    class Split:
        shards, windows = (2, 0, 3), 5

        def window(self, shard, index):
            start = {0: 0, 2: 1000}[shard] + index * 4
            return np.arange(start, start + 5, dtype=np.uint16)

    pairs = SplitPairs(Split(), 4)
    firsts = [int(pairs.pair(number)[0][0]) for number in range(5)]
    assert firsts == [0, 4, 1000, 1004, 1008]
    assert pairs.pair(3)[1].tolist() == [1005, 1006, 1007, 1008]
