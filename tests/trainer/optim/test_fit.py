"""`--micro-batch auto` against a machine whose memory is a number, and the advice when it runs out."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trainer.config import Config, Model, Optim, Parallel, Train
from trainer.config.amounts import divisors
from trainer.errors import TrainerError
from trainer.optim import fit

GIB = 2**30


class Card:
    """Takes `base` bytes and `each` per window; has `whole`."""

    def __init__(self, base, each, whole, error=None):
        self.base, self.each, self.whole, self.error, self.seen = base, each, whole, error, []

    def __call__(self, size):
        self.seen.append(size)
        need = self.base + size * self.each
        if need > self.whole:
            raise self.error or RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return need


class Ranks:
    """This rank beside one that answers otherwise."""

    def __init__(self, theirs):
        self.theirs = theirs

    def max(self, value):
        return max(value, self.theirs.pop(0) if self.theirs else -float("inf"))


@pytest.fixture(autouse=True)
def needs_torch(torch):
    """Freeing asks torch for its GPUs."""


@given(some.integers(1, 2048), some.integers(1, 3000), some.integers(1, 2048))
def test_the_largest_divisor_that_fits_is_found_and_no_size_is_tried_twice(windows, capacity, first):
    card = Card(0, 1, capacity)
    sizes = divisors(windows)
    found = fit.micro_batch(card, sizes, limit=int(0.92 * capacity) or 1, first=first)
    assert found.micro_batch == max(size for size in sizes if size <= (int(0.92 * capacity) or 1))
    assert len(set(card.seen)) == len(card.seen) == len(found.tried)


def test_few_sizes_are_tried_and_none_far_beyond_what_fits():
    card = Card(10 * GIB, GIB, 80 * GIB)
    found = fit.micro_batch(card, divisors(4096), limit=int(0.92 * 80 * GIB))
    assert found.micro_batch == 32 and card.seen == [1, 2, 4, 8, 16, 32, 64]
    assert found.tried[-1] == (64, "over the limit, 79.5 GB") and found.tried[0] == (1, 11 * GIB)
    again = Card(10 * GIB, GIB, 80 * GIB)
    assert fit.micro_batch(again, divisors(4096), limit=70 * GIB, first=32).micro_batch == 32
    assert again.seen == [32, 64]


def test_a_size_that_fits_but_leaves_nothing_to_spare_is_not_taken():
    found = fit.micro_batch(Card(0, 10, 100), [1, 2, 5, 10], limit=92)
    assert found.micro_batch == 5 and found.tried[-1][0] == 10 and "over the limit" in found.tried[-1][1]


def test_all_ranks_take_what_the_fullest_one_can():
    # first answer: minus the limit; then the other rank's peaks for 1, 2, 4
    found = fit.micro_batch(Card(0, 1, 100), [1, 2, 4, 8], Ranks([-50.0, 20.0, 40.0, float("inf")]), limit=80)
    assert found.micro_batch == 2 and found.tried == [(1, 20), (2, 40), (4, "out of memory")]


def test_the_smallest_limit_of_all_ranks_counts():
    assert fit.micro_batch(Card(0, 10, 1000), [1, 2, 4, 8], Ranks([-25.0]), limit=80).micro_batch == 2


def test_when_not_even_one_window_fits_it_says_what_was_tried():
    with pytest.raises(TrainerError) as caught:
        fit.micro_batch(Card(100, 1, 50), [1, 2], limit=46)
    assert "not even a micro-batch of 1" in caught.value.what and "1: out of memory" in caught.value.what
    assert "checkpointing" in caught.value.next_step


def test_another_error_of_a_try_is_not_taken_for_memory():
    with pytest.raises(RuntimeError, match="shape"):
        fit.micro_batch(Card(0, 5, 7, RuntimeError("shape mismatch")), [1, 2], limit=10)


@pytest.mark.parametrize(
    "text",
    ["CUDA out of memory.", "CUBLAS_STATUS_ALLOC_FAILED when calling", "DefaultCPUAllocator: can't allocate memory"],
)
def test_libraries_words_for_memory_are_known(text, torch):
    assert fit.out_of_memory(RuntimeError(text)) and not fit.out_of_memory(RuntimeError("illegal memory access"))
    assert fit.out_of_memory(torch.OutOfMemoryError("CUDA out of memory")) and fit.out_of_memory(MemoryError())


def test_memory_of_a_failed_try_is_freed_before_the_next(torch):
    import weakref

    alive = []

    def hungry(size):
        tensor = torch.zeros(1000 * size)
        assert not [one for one in alive if one() is not None]
        alive.append(weakref.ref(tensor))
        if size > 2:
            raise torch.OutOfMemoryError("out of memory")
        return size

    assert fit.micro_batch(hungry, [1, 2, 4, 8], limit=100).micro_batch == 2 and len(alive) == 3


@given(some.integers(1, 512), some.integers(1, 4096))
def test_on_a_cpu_it_is_the_largest_divisor_within_the_token_budget(windows, context):
    found = fit.without_memory_search(windows, context)
    assert windows % found == 0 and (found == 1 or found * context <= fit.CPU_TOKENS)
    larger = [size for size in divisors(windows) if size > found]
    assert all(size * context > fit.CPU_TOKENS for size in larger)


def test_the_advice_names_knobs_with_numbers():
    config = Config(model=Model(layers=24, width=2048, heads=16, context=2048, vocab=50304), train=Train(batch=64))
    error = fit.oom_error(config, 16, 8)
    assert "micro-batch of 16 windows x 2048 tokens" in error.what and "activations 52.9 GB" in error.what
    assert "train.micro_batch=8 (now 16; saves about 26.5 GB)" in error.next_step
    assert re.search(r"train\.checkpointing=full \(saves about \d+\.\d GB\)", error.next_step)
    assert re.search(r"parallel\.zero=1 \(saves about \d+\.\d GB on each of 8 ranks\)", error.next_step)


def test_advice_that_saves_nothing_is_not_given():
    model = Model(layers=12, width=256, heads=4, context=128)
    one = Config(model=model, train=Train(checkpointing="full"), parallel=Parallel(zero=3, offload="both"))
    assert fit.oom_error(one, 1, 1).next_step == "a smaller model or model.context"
    muon = Config(model=model, optim=Optim(name="muon"))
    assert "optim.name=adamw with parallel.zero" in fit.oom_error(muon, 2, 4).next_step
