"""What transformers computes from an export is what the trainer computes."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

SHAPES = [
    ("gpt2", {}),
    ("gpt2", {"kv_heads": 2, "tied": False, "ffn": 96}),
    ("llama", {}),
    ("llama", {"kv_heads": 1, "tied": True, "vocab": 304, "rope_theta": 50000.0}),
    ("nanochat", {"vocab": 304}),
    ("nanochat", {"kv_heads": 2, "tied": True}),
]


@pytest.fixture(scope="module")
def transformers(tmp_path_factory):
    """transformers, which must not look for a network."""
    constants = pytest.importorskip("huggingface_hub.constants")  # it reads the variable once, when it is imported
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        yield pytest.importorskip("transformers")


@pytest.mark.parametrize("limit", [5_000_000_000, 30_000])
@pytest.mark.parametrize(("family", "more"), SHAPES)
def test_logits_and_greedy_tokens_are_those_of_the_trainer(
    torch, transformers, make_run, shape, tmp_path, family, more, limit
):
    from trainer.after.export import export
    from trainer.after.sample import Settings, generate

    run, model = make_run(shape(family, **more))
    export(run, tmp_path / "out", shard_bytes=limit)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32).eval()
    tokens = torch.randint(0, 256, (3, 32))
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens).logits, model(tokens), atol=1e-4, rtol=0)
    prompt = tokens[:1, :8]
    mask = torch.ones_like(prompt)
    there = theirs.generate(prompt, attention_mask=mask, max_new_tokens=16, do_sample=False)[0, 8:].tolist()
    settings = Settings(tokens=16, temperature=0.0)
    assert there == [row[0] for row in generate(model, model.shape, prompt[0].tolist(), settings, known=256)]
    assert theirs.get_input_embeddings().weight.shape[0] == model.shape.vocab


def test_tied_weights_stay_one_matrix_there(torch, transformers, make_run, shape, tmp_path):
    from trainer.after.export import export

    run, model = make_run(shape("llama", tied=True))
    export(run, tmp_path / "out")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert theirs.lm_head.weight.data_ptr() == theirs.model.embed_tokens.weight.data_ptr()
    assert theirs.num_parameters() == sum(parameter.numel() for parameter in model.parameters())


def test_the_tokenizer_is_found_and_the_chat_template_gives_our_ids(transformers, make_run, shape, tmp_path, gpt2_like):
    from trainer.after import chat
    from trainer.after.export import export
    from trainer.after.sft import NOTE

    run, _ = make_run(shape(vocab=320), tokenizer=gpt2_like)
    (run / NOTE).write_text('{"base": "there"}')
    export(run, tmp_path / "out")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    text = "the wind and the rain, 12 times;  ëthe\n"
    assert theirs(text)["input_ids"] == gpt2_like.encode(text)
    assert theirs.decode(gpt2_like.encode(text)) == text
    turns = [("system", " be brief "), ("user", "sing the song"), ("assistant", "and then?")]
    plain = [{"role": role, "content": content} for role, content in turns]
    messages = [chat.Message(role, content) for role, content in turns]
    frame = chat.template(gpt2_like)
    told = theirs.apply_chat_template(plain, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert list(told) == chat.prompt(messages, gpt2_like, frame)
