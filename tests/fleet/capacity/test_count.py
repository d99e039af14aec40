"""Parameters and FLOPs of a shape are those of the literature, to the last one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.rows.published import Published, published, setup_of
from fleet.capacity.count import count, flops_per_token
from fleet.capacity.families import mpt, nanochat, of_family
from fleet.capacity.models import model
from fleet.capacity.shape import Shape

ROWS = published()
COUNTED = [row for row in ROWS if row.params and row.layers]
FOUNDRY = [row for row in ROWS if row.kind == "llm-foundry"]
A100, H100, H100_PCIE = 312e12, 989e12, 756e12


def shape_of(row: Published) -> Shape:
    setup = setup_of(row)
    assert not isinstance(setup, str), setup
    return setup.shape


def test_there_are_rows_to_hold_against():
    assert len(COUNTED) == 128
    assert len(FOUNDRY) == 108


def test_every_row_with_dimensions_has_exactly_its_published_parameters():
    wrong = {row.model: (count(shape_of(row)).total, row.params) for row in COUNTED}
    assert {name: both for name, both in wrong.items() if both[0] != both[1]} == {}


@given(layers=st.integers(1, 100), heads=st.integers(1, 64), head=st.integers(1, 128), length=st.integers(1, 2**17))
def test_mpt_is_counted_by_one_formula(layers, heads, head, length):
    h = heads * head
    expected = 12 * layers * h * h + 50368 * h + length * h + (13 * layers + 2) * h
    assert count(mpt(layers, h, heads, length)).total == expected


def test_palm_flops_give_every_published_mfu_of_llm_foundry():
    """planning.md, section 5, check 2: worst 0.15 percentage points; fp8 rows are against the fp8 peak."""
    worst = 0.0
    for row in FOUNDRY:
        setup = setup_of(row)
        flops = flops_per_token(setup.shape, setup.length).palm
        peak = setup.gpu.peak_for(setup.precision) * 1e12
        worst = max(worst, abs(row.tokens_per_second * flops / peak - row.mfu))
    assert worst < 0.0015


@pytest.mark.parametrize(
    ("shape", "rate", "peak", "percent"),
    [(mpt(32, 4096, 32, 2048), 10643, H100, 46.46), (mpt(24, 2048, 16, 2048), 19271, A100, 56.23)],
    ids=["MPT-7b H100", "MPT-1b A100"],
)
def test_the_two_worked_mfus_of_mpt(shape, rate, peak, percent):
    assert 100 * rate * flops_per_token(shape, 2048).palm / peak == pytest.approx(percent, abs=0.006)


def test_torchtitan_leaves_the_embedding_out_of_its_flops():
    """5,762 tokens/s/GPU are its stated 33%; with every parameter it would be 35.6%."""
    flops = flops_per_token(model("llama-3.1-8b"), 8192)
    assert 100 * 5762 * flops.total / H100 == pytest.approx(33.5, abs=0.6)
    assert 100 * 5762 * flops.palm / H100 == pytest.approx(35.6, abs=0.05)


def gpt2(layers: int, width: int, tied: bool = True) -> Shape:
    return of_family("gpt2", layers, width, width // 64, 50000, 2048, tied=tied)


@pytest.mark.parametrize(
    ("layers", "width", "tied", "total"),
    [
        (24, 1536, True, 759_905_280),
        (24, 1536, False, 836_705_280),
        (24, 2048, True, 1_315_196_928),
        (16, 2048, True, 912_330_752),
        (18, 2048, True, 1_013_047_296),
        (33, 1536, True, 1_014_888_960),
    ],
)
def test_gpt2_style_totals(layers, width, tied, total):
    assert count(gpt2(layers, width, tied)).total == total


def test_the_matrices_of_the_three_quarter_billion_model():
    assert count(gpt2(24, 1536)).matrices == 679_477_248
    assert flops_per_token(gpt2(24, 1536), 2048).palm / 1e9 == pytest.approx(5.465, abs=0.0005)


@pytest.mark.parametrize(
    ("steps_an_hour", "thousand_tokens", "tera", "percent"),
    [(350, 12.7, 70, 7.0), (2000, 72.8, 398, 40.2), (2500, 91.0, 497, 50.3)],
)
def test_steps_per_hour_are_an_mfu(steps_an_hour, thousand_tokens, tera, percent):
    per_gpu = steps_an_hour / 3600 * 1_048_576 / 8
    flops = per_gpu * flops_per_token(gpt2(24, 1536), 2048).palm
    assert per_gpu / 1e3 == pytest.approx(thousand_tokens, abs=0.06)
    assert flops / 1e12 == pytest.approx(tera, abs=0.6)
    assert 100 * flops / H100 == pytest.approx(percent, abs=0.06)


def test_the_impossible_run_of_the_character_model_needs_more_than_the_gpu_has():
    shape = nanochat(64, vocab=50, value_embeddings=False)
    per_gpu = 23_000 * 524_288 / (31 * 3600) / 8
    flops = per_gpu * flops_per_token(shape, 2048).palm
    assert per_gpu == pytest.approx(13_500, rel=0.01)
    assert flops / 1e12 == pytest.approx(1131, abs=2)
    assert flops / H100_PCIE == pytest.approx(1.50, abs=0.005)
    assert flops / H100 == pytest.approx(1.14, abs=0.005)
    possible = 0.4 * H100_PCIE / flops_per_token(shape, 2048).palm
    assert possible == pytest.approx(3611, abs=5)
    assert possible * 8 * 31 * 3600 / 1e9 == pytest.approx(3.22, abs=0.01)


def test_value_embeddings_are_looked_up_and_not_multiplied():
    with_them, without = nanochat(26), nanochat(26, value_embeddings=False)
    assert count(with_them).total - count(without).total == 13 * 32768 * 1664
    assert flops_per_token(with_them, 2048).total == flops_per_token(without, 2048).total
    assert flops_per_token(with_them, 2048).palm > flops_per_token(without, 2048).palm


@given(
    st.sampled_from(["llama-3.1-8b", "gpt2", "gemma-2-9b", "phi-2", "qwen3-4b", "falcon-7b"]),
    st.integers(1, 2**18),
)
def test_the_parts_add_up(name, length):
    shape = model(name)
    n = count(shape)
    parts = n.embedding, n.positions, n.value_embeddings, n.matrices, n.vectors, n.head
    assert n.total == sum(parts)
    flops = flops_per_token(shape, length)
    assert flops.causal < flops.total <= flops.palm + 6 * n.embedding
    assert flops_per_token(replace(shape, tied=not shape.tied), length).total == flops.total


def test_the_windows_of_nanochat_make_its_published_flops():
    """Run 1, d24: 4.33e19 FLOP in 10,949 s on 8 GPUs, about 100k tokens/s/GPU (planning.md, section 3)."""
    shape = nanochat(24, windows=True)
    assert (shape.windowed, shape.window) == (18, 1024)
    per_gpu = 4.33e19 / flops_per_token(shape, 2048).total / 10_949 / 8
    assert per_gpu == pytest.approx(100e3, rel=0.005)
    mfu = 4.33e19 / 10_949 / 8 / H100
    assert mfu == pytest.approx(0.50, abs=0.001)


def test_a_causal_kernel_computes_half_without_windows_and_more_than_half_of_a_window():
    full, windowed = nanochat(24), nanochat(24, windows=True)
    assert flops_per_token(full, 2048).attention_causal * 2 == flops_per_token(full, 2048).attention
    of_layer = 12 * 1536
    assert flops_per_token(windowed, 2048).attention == of_layer * (18 * 1024 + 6 * 2048)
    assert flops_per_token(windowed, 2048).attention_causal == of_layer * (18 * 768 + 6 * 1024)


@given(st.integers(1, 4096), st.integers(1, 4096))
def test_a_window_is_counted_as_its_mask_has_ones(length, window):
    shape = replace(model("gemma-2-2b"), layers=1, windowed=1, window=window)
    ones = sum(min(position, window) for position in range(1, length + 1))
    diagonal = min(window, length) / 2  # half of it: as the usual length / 2 of a causal mask, not (length + 1) / 2
    assert shape.attended_causally(length) * length == pytest.approx(ones - diagonal)
