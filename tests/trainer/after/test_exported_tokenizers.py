"""tokenizer.json gives the ids that our tokenizer gives, for every kind."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ALPHABET = "abc XYZ.,\n\té€😀"
ours = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def theirs():
    """A Tokenizer of the library from one of ours."""
    tokenizers = pytest.importorskip("tokenizers")
    from trainer.after.hub_tokenizer import describe

    return lambda one: tokenizers.Tokenizer.from_str(json.dumps(describe(one)[0]))


@ours
@given(text=st.text(max_size=60))
def test_bytes(theirs, text):
    from trainer.data.tokenizers.bytewise import Bytes

    text = text.encode("utf-8", "replace").decode()
    assert theirs(Bytes()).encode(text).ids == Bytes().encode(text)
    assert theirs(Bytes()).decode(Bytes().encode(text)) == text


@ours
@given(text=st.text(alphabet=ALPHABET, max_size=60))
def test_characters(theirs, text):
    from trainer.data.tokenizers.characters import Characters

    one = Characters(ALPHABET)
    assert theirs(one).encode(text).ids == one.encode(text)
    assert theirs(one).decode(one.encode(text)) == text


def test_a_character_outside_the_alphabet_is_an_error_there_too(theirs):
    from trainer.data.tokenizers.characters import Characters

    with pytest.raises(Exception, match=r"[Uu][Nn][Kk]|unk"):
        theirs(Characters("abc")).encode("abd")


@ours
@given(text=st.text(alphabet="theandi rg \n'é", max_size=60))
def test_byte_pairs_with_merges_found_again_from_the_ranks(theirs, gpt2_like, text):
    assert theirs(gpt2_like).encode(text).ids == gpt2_like.encode(text)


def test_the_end_of_text_is_a_special_token_there(theirs, gpt2_like):
    assert theirs(gpt2_like).encode("the<|endoftext|>the").ids == [258, gpt2_like.eot, 258]


def test_a_tokenizer_json_is_passed_on_as_it_is(theirs, gpt2_like):
    from trainer.after.hub_tokenizer import describe, end_text
    from trainer.data.tokenizers.hugging_face import HuggingFace

    content = json.dumps(describe(gpt2_like)[0])
    one = HuggingFace("mine", {"tokenizer.json": content.encode()})
    assert json.dumps(describe(one)[0]) == content
    assert end_text(one) == "<|endoftext|>"
    assert theirs(one).encode("the thing").ids == one.encode("the thing")


def test_tokens_that_a_post_processor_would_add_are_not_added_since_the_data_had_none(theirs, gpt2_like):
    from trainer.after.hub_tokenizer import describe
    from trainer.data.tokenizers.hugging_face import HuggingFace

    told, _ = describe(gpt2_like)
    pieces = [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    special = {"id": "<|endoftext|>", "ids": [gpt2_like.eot], "tokens": ["<|endoftext|>"]}
    told["post_processor"] = {
        "type": "TemplateProcessing",
        "single": pieces,
        "pair": pieces,
        "special_tokens": {"<|endoftext|>": special},
    }
    one = HuggingFace("mine", {"tokenizer.json": json.dumps(told).encode()})
    assert theirs(one).encode("the").ids == one.encode("the") == [258]


@pytest.mark.parametrize(
    ("theirs_is", "ours_is"),
    [
        (r"(?>\p{N}{1,3})|x", r"\p{N}{1,3}+|x"),
        (r"(?>[^\]a]{2})", r"[^\]a]{2}+"),
        (r"\s++|\p{L}{2}?", r"\s++|\p{L}{2}?"),
    ],
)
def test_possessive_intervals_become_atomic_groups(theirs_is, ours_is):
    from trainer.after.hub_tokenizer import oniguruma

    assert oniguruma(ours_is) == theirs_is


@pytest.mark.slow
def test_a_real_vocabulary_of_100_000_tokens(theirs):
    from pathlib import Path

    from trainer.data.tokenizer import named

    one = named("tiktoken:cl100k_base")
    there = theirs(one)
    text = (Path(__file__).parents[3] / "trainer/data/tales.txt").read_text()[:20000]
    for sample in (text, "  x = [1234567, 'ünïcödé']\r\n\n\tDON'T 日本語 🙂🙂", "   "):
        assert there.encode(sample).ids == one.encode(sample)
        assert there.decode(one.encode(sample)) == sample
