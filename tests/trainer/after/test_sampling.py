"""From logits to tokens, through the cache, to text."""

from __future__ import annotations

from collections import Counter

import pytest

from trainer.errors import TrainerError


@pytest.fixture
def draw(torch):
    """How often each token comes in 400 draws."""
    from trainer.after.sample import Settings, pick

    def draws(logits, **more):
        generator = torch.Generator().manual_seed(0)
        settings = Settings(**{"temperature": 1.0, **more})
        return Counter(pick(torch.tensor(logits), settings, generator) for _ in range(400))

    return draws


def test_temperature_0_takes_the_likeliest_and_of_equals_the_first(draw):
    assert draw([0.0, 3.0, 3.0, 1.0], temperature=0.0) == {1: 400}


def test_top_k_leaves_the_k_likeliest(draw):
    assert set(draw([1.0, 2.0, 3.0, 4.0], top_k=2)) == {2, 3}
    assert set(draw([1.0, 1.0, 1.0, 1.0], top_k=9)) == {0, 1, 2, 3}


def test_top_p_leaves_the_fewest_that_reach_p_and_never_none(torch, draw):
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().tolist()
    assert set(draw(logits, top_p=0.75)) == {0, 1}
    assert set(draw(logits, top_p=0.01)) == {0}


def test_frequencies_follow_the_probabilities_at_the_temperature(torch, draw):
    found = draw(torch.tensor([0.6, 0.3, 0.1]).log().tolist())
    assert abs(found[0] / 400 - 0.6) < 0.08
    assert draw(torch.tensor([0.6, 0.3, 0.1]).log().tolist(), temperature=0.2)[0] > 380


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"tokens": 0}, "--tokens"),
        ({"temperature": -1.0}, "--temperature"),
        ({"temperature": float("nan")}, "--temperature"),
        ({"top_k": -1}, "--top-k"),
        ({"top_p": 0.0}, "--top-p"),
    ],
)
def test_settings_that_mean_nothing_are_refused_by_their_flag(torch, values, flag):
    from trainer.after.sample import Settings

    with pytest.raises(TrainerError, match=flag):
        Settings(**values).check()


@pytest.mark.parametrize("family", ["gpt2", "llama", "nanochat"])
def test_the_cache_gives_the_tokens_that_whole_forwards_give(torch, model_of, shape, family):
    from trainer.after.sample import Settings, generate

    model = model_of(shape(family, kv_heads=2))
    ids, found = [5, 6, 7], []
    with torch.no_grad():
        for _ in range(20):
            found.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
            ids.append(found[-1])
    settings = Settings(tokens=20, temperature=0.0)
    assert [row[0] for row in generate(model, model.shape, [5, 6, 7], settings)] == found


def test_the_same_seed_gives_the_same_text_and_sample_1_is_sample_0_of_the_next_seed(torch, model_of, shape):
    from trainer.after.sample import Settings, generate

    model = model_of(shape())
    made = {}
    for seed, samples in ((3, 1), (3, 2), (4, 1)):
        rows = generate(model, model.shape, [1, 2], Settings(tokens=12, temperature=1.5, seed=seed), samples)
        made[seed, samples] = list(zip(*rows, strict=True))
    assert made[3, 2] == [made[3, 1][0], made[4, 1][0]]
    assert made[3, 1] != made[4, 1]


def test_generation_goes_on_beyond_the_context_from_its_last_half(torch, model_of, shape):
    from trainer.after.sample import Settings, generate

    model = model_of(shape("llama", context=16))
    rows = [row[0] for row in generate(model, model.shape, [1, 2, 3], Settings(tokens=40, temperature=0.0))]
    ids = [1, 2, 3, *rows]
    assert len(rows) == 40
    with torch.no_grad():  # the first token after the context was full: 16 ids read, the 17th asked for
        assert ids[17] == int(model(torch.tensor([ids[9:17]]))[0, -1].argmax())


def test_a_prompt_longer_than_the_context_keeps_its_end(torch):
    from trainer.after.sample import fitted

    assert fitted(range(5), 8, 100) == [0, 1, 2, 3, 4]
    assert fitted(range(20), 8, 2) == [14, 15, 16, 17, 18, 19]
    assert fitted(range(20), 8, 100) == [16, 17, 18, 19]


def test_ids_that_only_pad_the_vocabulary_never_come(torch, model_of, shape):
    from trainer.after.sample import Settings, generate

    model = model_of(shape(vocab=300))
    with torch.no_grad():
        model.tokens.weight[256:] *= 100  # without the limit these would be the likeliest
    settings = Settings(tokens=30, temperature=2.0)
    assert all(row[0] < 256 for row in generate(model, model.shape, [65], settings, known=256))
    assert any(row[0] >= 256 for row in generate(model, model.shape, [65], settings))


class TestText:
    """Tokens to text as they come."""

    def pieces(self, ids, stops=(), stop_ids=(), tokenizer=None):
        from trainer.after.sample import Text
        from trainer.data.tokenizers.bytewise import Bytes

        text = Text(tokenizer or Bytes(), stop_ids, stops)
        given = [text.add(one) for one in ids]
        return text, [*given, text.finish()]

    def test_a_character_is_given_when_all_its_bytes_are_there(self, torch):
        text, given = self.pieces("a€b".encode())
        assert given == ["a", "", "", "€", "b", ""]
        assert (text.text, text.why) == ("a€b", "length")

    def test_bytes_that_are_no_text_do_not_hold_it_up_for_ever(self, torch):
        text, given = self.pieces([0xFF] * 12 + list(b"ok"))
        assert "".join(given) == text.text
        assert text.text.endswith("ok")

    def test_a_stop_ends_it_and_no_part_of_it_is_shown(self, torch):
        text, given = self.pieces(b"say END now", stops=["END"])
        assert ("".join(given), text.text, text.why) == ("say ", "say ", "stop")
        assert given[4] == given[5] == ""  # E, EN might have become the stop

    def test_what_looked_like_a_stop_and_was_none_is_shown_after_all(self, torch):
        assert "".join(self.pieces(b"ENter", stops=["END"])[1]) == "ENter"
        assert "".join(self.pieces(b"EN", stops=["END"])[1]) == "EN"

    def test_an_end_spelled_in_letters_is_neither_shown_nor_kept(self, torch):
        text, given = self.pieces(b"yes<|end|>more", stop_ids=[list(b"<|end|>")])
        assert ("".join(given), text.text, text.why, bytes(text.ids)) == ("yes", "yes", "end", b"yes")

    def test_end_of_text_ends_it(self, torch, gpt2_like):
        text, given = self.pieces([258, 260, gpt2_like.eot, 258], stop_ids=[[gpt2_like.eot]], tokenizer=gpt2_like)
        assert ("".join(given), text.why, text.ids) == ("the the", "end", [258, 260])

    def test_escapes_of_a_stop_are_understood_and_other_letters_stay(self, torch):
        from trainer.after.sample import unescaped

        assert [unescaped(one) for one in ("\\n\\n", "é\\t", "日\\n", "plain é")] == ["\n\n", "é\t", "日\n", "plain é"]
