"""Numbers on a command line: read exactly as written, or refused by their flag."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.amounts import number, whole, wholes
from profiles.errors import WrongInput


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("524288", 524288),
        ("51.6B", 51_600_000_000),
        ("2.61b", 2_610_000_000),
        ("1.2T", 1_200_000_000_000),
        ("300M", 300_000_000),
        ("2.5k", 2500),
        ("3G", 3_000_000_000),
        ("48Mi", 48 * 2**20),
        ("1_048_576", 1_048_576),
        ("1,048,576", 1_048_576),
        ("1e9", 10**9),
        ("2.5e3k", 2_500_000),
    ],
)
def test_suffixes_are_exact(text: str, value: int):
    assert whole(text, "--tokens") == value


def test_a_price_may_have_its_sign_and_cents():
    assert number("$2.49", "--max-price") == 2.49
    assert number(".5", "--max-price") == 0.5


@pytest.mark.parametrize("text", ["", "x", "3x", "nan", "inf", "-inf", "0x10", "1.2.3", "1e999", "1,00", "--", "٣"])
def test_what_is_no_number_is_told_with_an_example(text: str):
    with pytest.raises(WrongInput) as caught:
        number(text, "--tokens")
    assert "--tokens" in caught.value.what and "51.6B" in caught.value.next_step


@pytest.mark.parametrize("text", ["0", "-1", "-2.5B", "0.0"])
def test_zero_and_negative_numbers_are_refused(text: str):
    with pytest.raises(WrongInput, match=f"--budget {text} is too small"):
        number(text, "--budget")


def test_an_absurd_number_is_refused_with_the_most_there_may_be():
    with pytest.raises(WrongInput, match="--gpu-count 1000000") as caught:
        whole("1000000", "--gpu-count", 1, 16384)
    assert "16,384" in caught.value.next_step


def test_half_a_gpu_is_none():
    with pytest.raises(WrongInput, match=r"--gpu-count 2\.5 is no whole number"):
        whole("2.5", "--gpu-count")


def test_several_may_stand_in_one_flag_or_in_more():
    assert wholes(["1,2", "8"], "--gpu-count") == [1, 2, 8]


@given(st.integers(1, 10**15))
def test_every_whole_number_is_read_back(value: int):
    assert whole(str(value), "--tokens") == whole(f"{value:,}", "--tokens") == value


@given(st.text(max_size=12))
def test_any_text_is_a_number_in_range_or_wrong_input(text: str):
    try:
        assert 0 < number(text, "--tokens", 0, 1e16) <= 1e16
    except WrongInput as error:
        assert error.next_step
