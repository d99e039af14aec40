"""The planner sees the very model that the trainer builds."""

from __future__ import annotations

import importlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.workload import shape_of
from fleet.capacity.count import count, flops_per_token
from profiles.errors import WrongInput
from trainer.config import Config, Model
from trainer.config.check import resolve
from trainer.config.presets import PRESETS, configured
from trainer.model import count as trained

VARIANTS = [
    Model(family=family, layers=3, heads=6, kv_heads=kv_heads, width=48, ffn=ffn, context=40, vocab=99, tied=tied)
    for family in ("gpt2", "llama", "nanochat")
    for kv_heads in (0, 2)
    for ffn in (0, 56)
    for tied in (None, True, False)
]


@pytest.fixture(scope="module")
def build():
    """A GPT of the trainer without memory of its own; a machine without torch skips, except CI."""
    torch = importlib.import_module("torch") if os.environ.get("CI") == "true" else pytest.importorskip("torch")
    torch.set_num_threads(1)
    from trainer.model.gpt import GPT

    class Plain:
        name = "plain"

        def linear(self, inputs: int, outputs: int, bias: bool, eligible: bool):
            return torch.nn.Linear(inputs, outputs, bias=bias)

    def make(model: Model):
        with torch.device("meta"):
            return GPT(model, Plain())

    return make


def of_built(gpt) -> dict[str, int]:
    """Parameters of a built model by the names that the planner gives them."""
    found = dict.fromkeys(("embedding", "positions", "head", "matrices", "vectors"), 0)
    outer = {"tokens.weight": "embedding", "positions.weight": "positions", "head.weight": "head"}
    for name, parameter in gpt.named_parameters():
        found[outer.get(name) or ("matrices" if parameter.dim() == 2 else "vectors")] += parameter.numel()
    return found


@pytest.mark.parametrize("model", VARIANTS, ids=lambda m: f"{m.family}-kv{m.kv_heads}-ffn{m.ffn}-{m.tied}")
def test_every_variant_of_a_family_is_counted_as_it_is_built(build, model):
    built, counted = of_built(build(model)), count(shape_of(model))
    assert {kind: getattr(counted, kind) for kind in built} == built
    assert counted.total == sum(built.values())


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_counted_as_it_is_built_and_costs_what_the_trainer_says(build, name):
    model = configured(PRESETS[name]).model
    shape = shape_of(model, name)
    assert shape.name == name
    assert count(shape).total == sum(of_built(build(model)).values()) == trained.count(model).total
    ours, theirs = flops_per_token(shape, model.context), trained.flops_per_token(model, model.context)
    assert ours.total == theirs.total
    assert ours.causal == theirs.total_causal
    assert ours.attention == theirs.attention


@st.composite
def models(draw) -> Model:
    """Any shape the trainer accepts, from tiny to beyond what exists."""
    kv_heads, groups = draw(st.integers(1, 16)), draw(st.integers(1, 16))
    heads = kv_heads * groups
    return Model(
        family=draw(st.sampled_from(["gpt2", "llama", "nanochat"])),
        layers=draw(st.integers(1, 200)),
        heads=heads,
        kv_heads=draw(st.sampled_from([0, kv_heads])),
        width=heads * 2 * draw(st.integers(1, 64)),
        ffn=draw(st.sampled_from([0, 7, 4096])),
        context=draw(st.integers(1, 2**20)),
        vocab=draw(st.integers(1, 2**18)),
        tied=draw(st.sampled_from([None, True, False])),
    )


@settings(max_examples=300)
@given(model=models(), length=st.integers(1, 2**20))
def test_planner_and_trainer_count_alike_whatever_the_shape(model, length):
    ours, theirs = count(shape_of(model)), trained.count(model)
    for kind in ("embedding", "positions", "matrices", "vectors", "head", "total"):
        assert getattr(ours, kind) == getattr(theirs, kind), kind
    flops, told = flops_per_token(shape_of(model), length), trained.flops_per_token(model, length)
    assert (flops.total, flops.causal, flops.attention) == (told.total, told.total_causal, told.attention)


@pytest.mark.parametrize("depth", [2, 12, 26, 64])
def test_the_depth_dial_turns_the_same_way_before_the_trainer_has_resolved_it(depth):
    open_, resolved = Config(), Config()
    for config in (open_, resolved):
        config.model.family, config.model.depth = "nanochat", depth
    resolve(resolved)
    assert shape_of(open_.model) == shape_of(resolved.model)


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(WrongInput, match="width 100 is not a multiple of 7 heads"):
        shape_of(Model(width=100, heads=7))


def test_an_unknown_family_is_refused_with_the_nearest_that_exists():
    with pytest.raises(WrongInput, match="unknown model family `lama`") as error:
        shape_of(Model(family="lama"))
    assert "llama" in error.value.next_step
