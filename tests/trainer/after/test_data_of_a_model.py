"""Which data a trained model is measured on and fine-tuned with, and what follows from it."""

from __future__ import annotations

import json

import pytest

from trainer.errors import TrainerError


@pytest.fixture
def chat_file(tmp_path):
    """Ten short conversations."""
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "you"}]
    file = tmp_path / "chat.jsonl"
    file.write_text((json.dumps({"messages": turns}) + "\n") * 10)
    return file


@pytest.fixture
def loaded(make_run, shape):
    """A model opened from its run, with a context that holds a short conversation."""
    from trainer.after.source import open_model

    return open_model(make_run(shape(context=64))[0], device="cpu")


@pytest.fixture
def stories_folder(tmp_path, gpt2_like):
    """A prepared folder with more ids than the model has."""
    from trainer.data.prepare import prepare
    from trainer.data.wish import Wish

    gpt2_like.save(tmp_path / "tiny")
    (tmp_path / "a.txt").write_text("once upon a time " * 500)
    prepare(Wish([str(tmp_path / "a.txt")], tmp_path / "prepared", str(tmp_path / "tiny"), quiet=True, workers=1))
    return tmp_path / "prepared"


def test_without_a_path_it_is_the_data_of_the_run(loaded):
    from trainer.after.held_out import held_out

    data = held_out(loaded, None)
    assert (data.pairs.context, data.name, len(data.token_bytes)) == (64, "the baked text", 256)
    assert held_out(loaded, None, "train").pairs.windows > data.pairs.windows


def test_data_made_with_another_tokenizer_is_refused(torch, make_run, shape, gpt2_like, tmp_path):
    from trainer.after.held_out import held_out
    from trainer.after.source import open_model

    run, _ = make_run(shape(vocab=320), tokenizer=gpt2_like)
    (tmp_path / "text.txt").write_text("plain bytes " * 100)
    with pytest.raises(TrainerError, match="tokenizer bytes, the model has tiny"):
        held_out(open_model(run, device="cpu"), str(tmp_path / "text.txt"))


def test_another_tokenizer_is_named_before_its_larger_vocabulary(loaded, gpt2_like, stories_folder):
    from trainer.after.held_out import held_out

    with pytest.raises(TrainerError, match="the model has bytes") as caught:
        held_out(loaded, str(stories_folder))
    assert caught.value.next_step.endswith("run/tokenizer")


def test_conversations_count_the_answers_only(loaded, chat_file):
    from trainer.after.held_out import held_out
    from trainer.run.evaluate import evaluate

    data = held_out(loaded, str(chat_file))
    result = evaluate(loaded.model, data.pairs, data.token_bytes)
    assert result.tokens == result.bytes == 10 * len("you<|end|>")


def test_a_fine_tuned_model_has_no_text_of_its_own_to_be_measured_on(loaded):
    from trainer.after.held_out import held_out

    loaded.facts["sft"] = {"base": "x"}
    with pytest.raises(TrainerError, match="fine-tuned on conversations"):
        held_out(loaded, None)


def test_fine_tuning_takes_the_shape_and_a_smaller_rate_for_some_epochs(make_run, shape):
    from trainer.after import place, sft, source

    run, _ = make_run(shape("llama", kv_heads=2, dropout=0.1))
    base = source.read_weights(place.recognise(run), "latest")
    config = sft.defaults(base, windows=100, epochs=3)
    assert (config.model.kv_heads, config.model.dropout) == (2, 0.0)
    assert config.optim.lr < base.facts["config"]["optim"]["lr"] / 3 + 1e-12
    assert config.train.batch * config.train.steps >= 300 > config.train.batch * (config.train.steps - 1)
    assert sft.defaults(base, windows=5, epochs=1).train.batch == 5
    for epochs in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(TrainerError, match="--epochs"):
            sft.defaults(base, 100, epochs)


def test_a_fine_tuning_begins_with_the_weights_of_its_base(torch, make_run, shape, model_of, chat_file):
    from trainer.after import place, sft, source

    run, model = make_run(shape(context=64))
    base = source.read_weights(place.recognise(run), "latest")
    work = sft.Chats(base, source.tokenizer_of(place.recognise(run)), chat_file, None)
    fresh = model_of(shape(context=64), seed=99)
    work.begin(fresh)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, fresh.get_parameter(name))


def test_other_conversations_or_another_packing_is_another_run(make_run, shape, chat_file, tmp_path):
    from trainer.after import place, sft, source

    found = place.recognise(make_run(shape(context=64))[0])
    base, tokenizer = source.read_weights(found, "latest"), source.tokenizer_of(found)
    other = tmp_path / "other.jsonl"
    other.write_text(chat_file.read_text().replace("you", "me"))
    identities = [sft.Chats(base, tokenizer, *rest).identity for rest in ((chat_file, None), (chat_file, None, False))]
    identities.append(sft.Chats(base, tokenizer, other, None).identity)
    assert len(set(identities)) == 3
    assert sft.Chats(base, tokenizer, chat_file, None).identity == identities[0]
