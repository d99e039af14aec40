"""Shapes that cannot be built are refused before anything is built, with the numbers and a way out."""

from __future__ import annotations

import dataclasses

import pytest

from trainer.config import Model
from trainer.errors import TrainerError
from trainer.model.families import sizes_of
from trainer.model.shape import check_length, check_shape

GOOD = Model(family="llama", layers=2, heads=4, width=64)


def changed(**values) -> Model:
    return dataclasses.replace(GOOD, **values)


@pytest.mark.parametrize("family", ["gpt2", "llama", "nanochat"])
def test_every_family_accepts_the_default_shape(family):
    check_shape(Model(family=family))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (changed(family="bert"), "'bert'"),
        (changed(heads=5), "heads 5 does not divide model.width 64"),
        (changed(kv_heads=3), "kv_heads 3 does not divide model.heads 4"),
        (changed(width=60, heads=4, kv_heads=0), "is 15"),
        (changed(family="nanochat", width=36), "is 9"),
        (changed(layers=0), "model.layers is 0"),
        (changed(vocab=0), "model.vocab is 0"),
        (changed(context=-1), "model.context is -1"),
        (changed(ffn=-4), "model.ffn is -4"),
        (changed(kv_heads=-1), "model.kv_heads is -1"),
        (changed(dropout=1.0), "model.dropout is 1.0"),
        (changed(attention="flash9"), "'flash9'"),
        (changed(rope_theta=0.0), "model.rope_theta is 0.0"),
    ],
)
def test_an_impossible_shape_names_the_key_and_the_number(shape, words):
    with pytest.raises(TrainerError) as caught:
        check_shape(shape)
    assert words in caught.value.what
    assert caught.value.next_step
    assert caught.value.exit_code == 2


def test_learned_positions_allow_an_odd_head_dimension():
    check_shape(Model(family="gpt2", width=60, heads=4))


def test_the_next_step_suggests_heads_that_work():
    with pytest.raises(TrainerError) as caught:
        check_shape(changed(heads=7))
    assert "model.heads to 8" in caught.value.next_step


def test_more_tokens_than_the_context_are_refused():
    check_length(64, 64)
    with pytest.raises(TrainerError, match="65 tokens do not fit the model's context of 64"):
        check_length(65, 64)


@pytest.mark.parametrize(
    ("family", "width", "ffn"),
    [("gpt2", 768, 3072), ("nanochat", 1280, 5120), ("llama", 4096, 11008), ("llama", 768, 2048), ("llama", 64, 256)],
)
def test_the_inner_width_is_the_familys_own_when_zero(family, width, ffn):
    assert sizes_of(Model(family=family, width=width)).ffn == ffn


def test_tying_is_the_familys_own_unless_said():
    assert sizes_of(Model(family="gpt2")).tied
    assert not sizes_of(Model(family="llama")).tied
    assert not sizes_of(Model(family="gpt2", tied=False)).tied
    assert sizes_of(Model(family="nanochat", tied=True)).tied
