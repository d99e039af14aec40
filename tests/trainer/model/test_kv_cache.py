"""Sampling with cached keys and values gives the logits of the whole sequence."""

from __future__ import annotations

import pytest

from trainer.errors import TrainerError


@pytest.fixture(scope="session")
def cache(torch):
    from trainer.model.cache import KVCache

    return KVCache


@pytest.mark.parametrize("pieces", [[24], [1] * 24, [10, 1, 1, 1, 7, 4]])
def test_pieces_give_the_logits_of_the_whole(torch, build, tokens, shape, cache, pieces):
    model, (inputs, _) = build(shape).eval(), tokens(shape)
    kept = cache(shape, batch=2)
    with torch.inference_mode():
        whole = model(inputs)
        parts = [model(piece, cache=kept) for piece in inputs.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-5, atol=1e-5)
    assert kept.length == 24


def test_the_last_position_alone_is_the_last_of_all(torch, build, tokens, shape):
    model, (inputs, _) = build(shape), tokens(shape)
    with torch.no_grad():
        torch.testing.assert_close(model(inputs, last_only=True), model(inputs)[:, -1:])


def test_grouped_heads_need_less_room(cache, shape):
    values = cache(shape, batch=2).values
    heads = shape.kv_heads or shape.heads
    assert values.numel() == 2 * shape.layers * 2 * shape.context * heads * (shape.width // shape.heads)


def test_overflowing_the_context_is_an_error_and_adds_nothing(torch, build, tokens, shape, cache):
    model, (inputs, _) = build(shape), tokens(shape)
    kept = cache(shape, batch=2)
    with torch.no_grad():
        model(inputs[:, :20], cache=kept)
        with pytest.raises(TrainerError, match="20 tokens are cached and 5 more do not fit the context of 24"):
            model(inputs[:, :5], cache=kept)
    assert kept.length == 20


def test_a_cache_is_for_one_batch_size(torch, build, tokens, shape, cache):
    with torch.no_grad(), pytest.raises(TrainerError, match="holds 3 sequences, not 2"):
        build(shape)(tokens(shape)[0], cache=cache(shape, batch=3))


def test_a_rewound_cache_continues_from_there(torch, build, tokens, shape, cache):
    model, (inputs, _) = build(shape), tokens(shape)
    kept = cache(shape, batch=2)
    with torch.no_grad():
        model(inputs, cache=kept)
        kept.rewind(7)
        found = model(inputs[:, 7:9], cache=kept)
        torch.testing.assert_close(found, model(inputs)[:, 7:9], rtol=1e-5, atol=1e-5)
