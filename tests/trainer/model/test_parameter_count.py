"""Counts and FLOPs by formula equal the modules that are really built, and the numbers others publish."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config import Model
from trainer.model.count import count, flops_per_token


@st.composite
def shapes(draw) -> Model:
    """Any small shape that can be built."""
    kv_heads, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    heads = kv_heads * groups
    return Model(
        family=draw(st.sampled_from(["gpt2", "llama", "nanochat"])),
        layers=draw(st.integers(1, 3)),
        heads=heads,
        kv_heads=draw(st.sampled_from([0, kv_heads])),
        width=heads * 2 * draw(st.integers(1, 5)),
        ffn=draw(st.sampled_from([0, 7, 48])),
        context=draw(st.integers(1, 40)),
        vocab=draw(st.integers(1, 99)),
        tied=draw(st.sampled_from([None, True, False])),
    )


def kind_of(name: str, parameter) -> str:
    if name in ("tokens.weight", "positions.weight", "head.weight"):
        return {"tokens": "embedding", "positions": "positions", "head": "head"}[name.split(".")[0]]
    return "matrices" if parameter.dim() == 2 else "vectors"


def assert_counted(torch, backend, shape: Model) -> None:
    from trainer.model.gpt import GPT

    with torch.device("meta"):
        model = GPT(shape, backend)
    found = dict.fromkeys(("embedding", "positions", "matrices", "vectors", "head"), 0)
    for name, parameter in model.named_parameters():
        found[kind_of(name, parameter)] += parameter.numel()
    counted = count(shape)
    assert {kind: getattr(counted, kind) for kind in found} == found
    assert counted.total == sum(found.values())


@settings(max_examples=60, deadline=None)
@given(shape=shapes())
def test_the_formula_counts_what_is_built(torch, backend, shape):
    assert_counted(torch, backend, shape)


BIG = [
    Model(family="nanochat", layers=64, heads=32, width=4096, context=2048, vocab=65536),
    Model(family="gpt2", layers=24, heads=24, width=1536, context=1024, vocab=50304),
    Model(family="llama", layers=32, heads=32, kv_heads=8, width=4096, ffn=14336, context=8192, vocab=128256),
]


@pytest.mark.parametrize("shape", BIG, ids=lambda shape: f"{shape.family}-{shape.layers}x{shape.width}")
def test_the_formula_counts_big_models_too(torch, backend, shape):
    assert_counted(torch, backend, shape)


def test_sixty_four_layers_are_counted_in_a_blink():
    begin = time.perf_counter()
    for _ in range(1000):
        count(BIG[0])
    assert time.perf_counter() - begin < 0.5


@pytest.mark.parametrize(
    ("shape", "total"),
    [
        # openai-community/gpt2 and gpt2-xl; Llama 2 7B and Llama 3 8B: totals of the published checkpoints
        (Model(family="gpt2", layers=12, heads=12, width=768, context=1024, vocab=50257), 124_439_808),
        (Model(family="gpt2", layers=48, heads=25, width=1600, context=1024, vocab=50257), 1_557_611_200),
        (Model(family="llama", layers=32, heads=32, width=4096, context=4096, vocab=32000), 6_738_415_616),
        (BIG[2], 8_030_261_248),
    ],
)
def test_published_models_have_their_published_size(shape, total):
    assert count(shape).total == total


def test_nanochat_matrices_are_twelve_depth_width_squared():
    for depth, millions in ((12, 84.9), (24, 679.5), (32, 1610.6), (64, 12884.9)):
        shape = Model(family="nanochat", layers=depth, heads=depth // 2, width=64 * depth, vocab=32)
        assert count(shape).matrices == 12 * depth * (64 * depth) ** 2
        assert count(shape).matrices / 1e6 == pytest.approx(millions, abs=0.06)


def test_flops_name_both_conventions_of_attention():
    shape = Model(family="gpt2", layers=12, heads=12, width=768, context=1024, vocab=50257)
    flops = flops_per_token(shape, 1024)
    matrices = 12 * 12 * 768**2 + 50257 * 768  # the tied head multiplies although it has no parameters of its own
    assert flops.matrices == 6 * matrices
    assert flops.attention == 12 * 12 * 768 * 1024
    assert flops.attention_causal * 2 == flops.attention
    assert flops.total == flops.matrices + flops.attention
    assert flops.total_causal == flops.matrices + flops.attention_causal


@pytest.mark.parametrize("family", ["gpt2", "llama", "nanochat"])
def test_matrix_flops_are_those_a_real_step_multiplies(torch, build, tokens, family):
    """PyTorch's own counter over forward and backward, in full attention's terms on the CPU."""
    from torch.utils.flop_counter import FlopCounterMode

    shape = Model(family=family, layers=2, heads=4, kv_heads=2, width=64, context=32, vocab=80)
    model = build(shape)
    with FlopCounterMode(display=False) as counter:
        model(*tokens(shape)).backward()
    by_operator = counter.get_flop_counts()["Global"]
    products = sum(number for operator, number in by_operator.items() if "mm" in str(operator))
    assert products == flops_per_token(shape, 32).matrices * 2 * 32


def test_counting_does_not_import_torch():
    code = "import sys, trainer.model.count, trainer.model.shape; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
