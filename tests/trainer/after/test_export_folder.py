"""The exported folder, without transformers: names, files, faults, and the way back."""

from __future__ import annotations

import json

import pytest

from trainer.errors import TrainerError

SHAPES = [
    ("gpt2", {}),
    ("gpt2", {"tied": False}),
    ("llama", {"kv_heads": 2}),
    ("llama", {"kv_heads": 1, "tied": True}),
    ("nanochat", {}),
    ("nanochat", {"kv_heads": 2, "tied": True, "vocab": 300}),
]


@pytest.mark.parametrize(("family", "more"), SHAPES)
def test_an_export_read_back_gives_the_same_logits(torch, make_run, shape, tmp_path, family, more):
    from trainer.after.export import export
    from trainer.after.source import open_model

    run, model = make_run(shape(family, **more))
    export(run, tmp_path / "out")
    tokens = torch.randint(0, 256, (2, 32))
    with torch.no_grad():
        assert torch.equal(open_model(tmp_path / "out", device="cpu").model(tokens), model(tokens))


def test_gpt2_with_grouped_heads_is_written_with_repeated_heads_and_the_same_logits(torch, make_run, shape, tmp_path):
    from trainer.after.export import export
    from trainer.after.source import open_model

    run, model = make_run(shape("gpt2", kv_heads=2))
    export(run, tmp_path / "out")
    loaded = open_model(tmp_path / "out", device="cpu")
    tokens = torch.randint(0, 256, (1, 32))
    assert loaded.shape.kv_heads == 4
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(tokens), model(tokens), atol=1e-5, rtol=0)


def test_weights_above_the_limit_go_to_several_files_with_an_index_that_names_every_tensor_once(
    torch, make_run, shape, tmp_path
):
    from safetensors import safe_open

    from trainer.after.export import export

    run, _ = make_run(shape("llama"))
    done = export(run, tmp_path / "out", shard_bytes=20_000)
    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_text())
    files = [name for name in done.files if name.endswith(".safetensors")]
    assert len(files) > 2
    stored = {}
    for name in files:
        with safe_open(str(tmp_path / "out" / name), "pt") as content:
            stored.update(dict.fromkeys(content.keys(), name))
            sizes = [content.get_tensor(key).nbytes for key in content.keys()]  # noqa: SIM118
            assert sum(sizes) <= 20_000 or len(sizes) == 1
    assert stored == index["weight_map"]
    assert len(stored) == done.tensors
    assert index["metadata"]["total_size"] == sum(p.numel() * 4 for p in make_run(shape("llama"))[1].parameters())


def test_bf16_is_written_as_bf16_and_read_back_rounded(torch, make_run, shape, tmp_path):
    from safetensors.torch import load_file

    from trainer.after.export import export

    run, model = make_run(shape("llama"))
    export(run, tmp_path / "out", dtype="bf16")
    stored = load_file(tmp_path / "out/model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    assert torch.equal(stored["model.embed_tokens.weight"], model.tokens.weight.to(torch.bfloat16))
    assert json.loads((tmp_path / "out/config.json").read_text())["dtype"] == "bfloat16"


def test_the_checkpoint_that_is_asked_for_is_the_one_exported(torch, make_run, shape, tmp_path):
    from safetensors.torch import load_file

    from trainer.after.export import export
    from trainer.checkpoint import folder

    run, newest = make_run(shape(), steps=(3, 8))
    folder.point(run / "checkpoints", "best", "step-00000003")
    firsts = []
    for which in ("latest", "best", "3"):
        export(run, tmp_path / which, which)
        firsts.append(load_file(tmp_path / which / "model.safetensors")["transformer.wte.weight"])
    assert torch.equal(firsts[0], newest.tokens.weight)
    assert torch.equal(firsts[1], firsts[2])
    assert not torch.equal(firsts[0], firsts[1])


def test_the_card_tells_what_is_known_of_the_run(make_run, shape, tmp_path):
    from trainer.after.export import export

    run, model = make_run(shape("llama", vocab=300))
    line = {"event": "eval", "step": 5, "val_loss": 2.5, "bits_per_byte": 3.6067}
    (run / "training_metrics.jsonl").write_text(json.dumps(line) + "\n" + '{"event": "st')
    export(run, tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text()
    count = sum(parameter.numel() for parameter in model.parameters())
    for fact in (
        f"| parameters | {count:,} |",
        "300, padded from 256",
        "2.5000 nats",
        "3.6067",
        "| tokens seen | 500 |",
    ):
        assert fact in card


def test_rows_that_pad_the_vocabulary_are_suppressed_in_generation(make_run, shape, tmp_path):
    from trainer.after.export import export

    run, _ = make_run(shape(vocab=264))
    export(run, tmp_path / "out")
    assert json.loads((tmp_path / "out/generation_config.json").read_text())["suppress_tokens"] == list(range(256, 264))


def test_an_existing_folder_is_refused_without_force_and_replaced_with_it(make_run, shape, tmp_path):
    from trainer.after.export import export

    run, _ = make_run(shape())
    export(run, tmp_path / "out")
    (tmp_path / "out/stale").write_text("x")
    with pytest.raises(TrainerError, match="exists") as refused:
        export(run, tmp_path / "out")
    assert refused.value.exit_code == 4
    export(run, tmp_path / "out", force=True)
    assert not (tmp_path / "out/stale").exists()
    assert not list(tmp_path.glob(".out*"))


def test_force_never_deletes_a_folder_that_is_no_export(make_run, shape, tmp_path):
    from trainer.after.export import export

    run, _ = make_run(shape())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years")
    with pytest.raises(TrainerError, match="no export"):
        export(run, tmp_path / "mine", force=True)
    assert (tmp_path / "mine/thesis.txt").read_text() == "years"


def test_a_failed_export_leaves_nothing_behind(make_run, shape, tmp_path, monkeypatch):
    from trainer.after import card, export

    run, _ = make_run(shape())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(card, "text", full)
    with pytest.raises(TrainerError, match="No space left"):
        export.export(run, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_damaged_weight_file_is_named_when_the_export_is_opened(make_run, shape, tmp_path):
    from trainer.after.export import export
    from trainer.after.source import open_model

    run, _ = make_run(shape())
    export(run, tmp_path / "out")
    file = tmp_path / "out/model.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(TrainerError, match=r"model\.safetensors has another sha256"):
        open_model(tmp_path / "out")


def test_an_export_of_another_kind_of_model_is_refused_with_its_reason(make_run, shape, tmp_path):
    from trainer.after.export import export
    from trainer.after.source import open_model

    run, _ = make_run(shape("llama"))
    export(run, tmp_path / "out")
    told = json.loads((tmp_path / "out/config.json").read_text())
    for key, value, said in (("hidden_act", "gelu", "hidden_act is gelu"), ("model_type", "mamba", "'mamba'")):
        (tmp_path / "out/config.json").write_text(json.dumps({**told, key: value}))
        with pytest.raises(TrainerError, match=said):
            open_model(tmp_path / "out")


def test_others_may_read_the_weights_where_they_may_read_the_rest(make_run, shape, tmp_path):
    from trainer.after.export import export

    run, _ = make_run(shape())
    export(str(run), tmp_path / "out")
    rights = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert rights["model.safetensors"] == rights["config.json"]
