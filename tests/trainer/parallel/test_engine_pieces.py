"""How the whole is cut, in which form a loss scale travels, what else of a model is kept; without other processes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.parallel import cut

torch = pytest.importorskip("torch")

from tests.trainer.parallel.gathered import Gathered, joined  # noqa: E402
from trainer.checkpoint.piece import Piece  # noqa: E402
from trainer.errors import TrainerError  # noqa: E402
from trainer.parallel import extra, held, scaling  # noqa: E402

SHAPES = st.lists(st.lists(st.integers(1, 9), max_size=3).map(tuple), min_size=1, max_size=8)


@settings(deadline=None)
@given(shapes=SHAPES, ranks=st.integers(1, 17))
def test_the_ranks_ranges_cover_every_tensor_exactly_once_in_equal_shares(shapes, ranks):
    known = {f"p{number}": shape for number, shape in enumerate(shapes)}
    numbers = {name: torch.arange(math.prod(shape)) for name, shape in known.items()}
    parts = [cut.ranges(known, rank, ranks) for rank in range(ranks)]
    pieces = [
        Piece("weight", name, known[name], begin, numbers[name][begin:end])
        for ranges in parts
        for name, begin, end in ranges
    ]
    whole = joined(pieces)  # asserts that no element is missing or given twice
    assert {name: tuple(value.shape) for (_, name), value in whole.tensors.items()} == known
    assert all(torch.equal(value.flatten(), numbers[name]) for (_, name), value in whole.tensors.items())
    shares = [sum(end - begin for _, begin, end in ranges) for ranges in parts]
    assert max(shares) - min(shares) <= 1


@settings(max_examples=25, deadline=None)
@given(shapes=SHAPES, ranks=st.integers(1, 5), others=st.integers(1, 5), steps=st.integers(1, 2))
def test_optimizer_state_is_cut_with_the_weights_and_filled_into_another_optimizer(shapes, ranks, others, steps):
    def made(seed: int):
        generator = torch.Generator().manual_seed(seed)
        named = {
            f"p{number}": torch.nn.Parameter(torch.randn(shape, generator=generator))
            for number, shape in enumerate(shapes)
        }
        optimizer = torch.optim.AdamW(named.values())
        for _ in range(steps if seed else 0):
            for value in named.values():
                value.grad = torch.randn(value.shape, generator=generator)
            optimizer.step()
        return held.whole(named, optimizer.param_groups), optimizer.state

    def gathered(owners, state, number):
        return joined(piece for rank in range(number) for piece in held.pieces(held.share(owners, rank, number), state))

    owners, state = made(1)
    stored = gathered(owners, state, ranks)
    assert stored.kinds() == {"weight", "exp_avg", "exp_avg_sq", "step"}
    fresh, empty = made(0)
    held.fill(fresh, held.share(fresh, 0, 1), empty, stored)
    assert gathered(fresh, empty, others).same(stored)


def test_what_zero_cannot_keep_is_refused_before_anything_changes():
    flat = torch.zeros(4)
    owner = held.Owner(flat, {}, ("a", "b"))
    ranges = [held.Held("a", (2,), 0, 2, owner, 0), held.Held("b", (2,), 0, 2, owner, 2)]
    tensors = {(kind, name): torch.ones(2) for kind in ("weight", "exp_avg", "exp_avg_sq") for name in "ab"}
    tensors |= {("step", "a"): torch.tensor(3.0), ("step", "b"): torch.tensor(4.0)}
    state: dict = {}
    with pytest.raises(TrainerError, match="different numbers of steps: 3 to 4") as caught:
        held.fill([owner], ranges, state, Gathered(tensors))
    assert caught.value.exit_code == 4
    assert not state and not flat.any()


def loss_scaler(window: int = 1000):
    pytest.importorskip("deepspeed")
    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler

    return DynamicLossScaler(2.0**16, window, 1.0, 1, False)


@given(
    # from 2**16 at most 16 halvings: at the smallest scale DeepSpeed gives up
    before=st.lists(st.booleans(), max_size=8),
    after=st.lists(st.booleans(), max_size=8),
    window=st.integers(1, 4),
)
def test_a_deepspeed_scaler_goes_on_as_the_one_it_was_taken_from(before, after, window, monkeypatched_rank):
    first, second = loss_scaler(window), loss_scaler(window)
    for overflow in before:
        first.update_scale(overflow)
    scaling.to_deepspeed(second, scaling.of_deepspeed(first))
    assert scaling.of_deepspeed(second) == scaling.of_deepspeed(first)
    for overflow in after:
        first.update_scale(overflow)
        second.update_scale(overflow)
        assert first.cur_scale == second.cur_scale


@pytest.fixture(scope="module")
def monkeypatched_rank():
    """update_scale speaks on rank 0 alone, and asks DeepSpeed's group which rank it is."""
    module = pytest.importorskip("deepspeed.runtime.fp16.loss_scaler")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.dist, "get_rank", lambda *_: 1)
        yield


@pytest.mark.parametrize("good", [0, 1, 999])
def test_scale_and_good_steps_travel_between_both_kinds_of_scaler(good):
    told = {"scale": 512.0, "good_steps": good}
    torch_s, deepspeed_s = torch.amp.GradScaler("cpu"), loss_scaler()
    scaling.to_torch(torch_s, told)
    assert scaling.of_torch(torch_s) == told
    scaling.to_deepspeed(deepspeed_s, scaling.of_torch(torch_s))
    assert scaling.of_deepspeed(deepspeed_s) == told


def test_torch_s_scaler_still_grows_after_more_good_steps_than_it_waits_for():
    scaler = torch.amp.GradScaler("cpu", growth_interval=3)
    scaling.to_torch(scaler, {"scale": 8.0, "good_steps": 900})
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter])
    scaler.scale(parameter.sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 16.0


def test_no_scaler_and_nothing_told_change_nothing():
    scaler = torch.amp.GradScaler("cpu")
    scaling.to_torch(scaler, None)
    scaling.to_torch(None, {"scale": 2.0, "good_steps": 1})
    assert scaling.of_torch(scaler) == {"scale": 2.0**16, "good_steps": 0}
    assert scaling.of_torch(None) is None


class Plain:
    before_save = after_load = staticmethod(lambda state: state)

    @staticmethod
    def loading():
        return torch.no_grad()


def test_persistent_buffers_are_cloned_and_come_back_in_shape_and_type():
    model = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 2))
    model(torch.randn(8, 3))
    kept = extra.given(model, Plain)
    assert kept.keys() == {"0.running_mean", "0.running_var", "0.num_batches_tracked"}
    stored = Gathered({("buffer", name): value for name, value in kept.items()})
    was = {name: value.clone() for name, value in kept.items()}
    model(torch.randn(8, 3))
    assert all(torch.equal(kept[name], was[name]) for name in was)  # no views
    extra.taken(model, Plain, stored)
    assert all(torch.equal(value, was[name]) for name, value in extra.given(model, Plain).items())
    assert model[0].num_batches_tracked.item() == 1
