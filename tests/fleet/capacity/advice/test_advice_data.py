"""Tokens against parameters and epochs: what is said where."""

from __future__ import annotations

import pytest

from fleet.capacity.advice.data import on_data
from fleet.capacity.advice.sizes import CLAIMED, SIZES
from fleet.capacity.count import count
from fleet.capacity.families import nanochat
from fleet.capacity.models import model

COUNTS = count(model("gpt2-xl"))


@pytest.mark.parametrize(
    ("epochs", "said"), [(2, "2 epochs"), (6, "past 4"), (34, "high risk of overfitting"), (60, "it will overfit")]
)
def test_many_epochs_are_warned_of(epochs: int, said: str):
    assert said in on_data(COUNTS, epochs * 350e6, 350e6)[0]


def test_too_few_tokens_name_the_model_that_the_compute_would_train_best():
    (line,) = on_data(COUNTS, COUNTS.total * 5, None)
    assert "780M" in line, "a quarter of the tokens per parameter: half the size"


def test_twenty_tokens_per_parameter_are_right_and_hundreds_are_for_serving():
    assert "about 20 are best" in on_data(COUNTS, COUNTS.total * 20, None)[0]
    assert "cheap to serve" in on_data(COUNTS, COUNTS.total * 300, None)[0]


def test_the_guides_sizes_are_larger_than_it_says():
    for name, depth in SIZES.items():
        counts = count(nanochat(depth, 65536, value_embeddings=False))
        assert 1.4 <= counts.matrices / CLAIMED[name] <= 8.8 or counts.total > CLAIMED[name]
