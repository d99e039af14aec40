"""Which folder is what, which checkpoint is meant, and what is said when it is not there or not whole."""

from __future__ import annotations

import pytest

from trainer.errors import TrainerError


def test_a_run_a_checkpoint_of_it_and_its_export_open_as_the_same_model(torch, make_run, shape, tmp_path):
    from trainer.after.export import export
    from trainer.after.source import open_model

    run, model = make_run(shape("nanochat"))
    export(run, tmp_path / "out")
    tokens = torch.randint(0, 256, (1, 16))
    with torch.no_grad():
        for path in (run, run / "checkpoints/step-00000005", tmp_path / "out"):
            loaded = open_model(path, device="cpu")
            assert torch.equal(loaded.model(tokens), model(tokens))
            assert (loaded.facts["step"], loaded.facts["tokens"]) == (5, 500)
            assert loaded.tokenizer.kind == "bytes"


def test_latest_is_the_newest_step_even_where_the_pointer_was_lost(make_run, shape):
    from trainer.after import place

    run, _ = make_run(shape(), steps=(2, 11))
    (run / "checkpoints/latest").unlink()
    assert place.choose(place.recognise(run), "latest").name == "step-00000011"


@pytest.mark.parametrize(
    ("which", "said", "hint"),
    [
        ("7", "no step 7", "step-00000002, step-00000011"),
        ("best", "no best", "latest"),
        ("newest", "'newest'", "latest"),
    ],
)
def test_a_checkpoint_that_is_not_there_is_named_with_those_that_are(make_run, shape, which, said, hint):
    from trainer.after import place

    run, _ = make_run(shape(), steps=(2, 11))
    with pytest.raises(TrainerError, match=said) as refused:
        place.choose(place.recognise(run), which)
    assert hint in refused.value.next_step


def test_one_changed_byte_names_the_file_and_a_checkpoint_that_is_good(make_run, shape):
    from trainer.after.source import open_model

    run, _ = make_run(shape(), steps=(2, 11))
    file = run / "checkpoints/step-00000011/weights-00000-00.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(TrainerError, match=r"damaged: weights-00000-00\.safetensors has another sha256") as refused:
        open_model(run)
    assert "--checkpoint 2" in refused.value.next_step
    assert open_model(run, "2", device="cpu").facts["step"] == 2


def test_folders_that_are_none_of_ours_are_refused(tmp_path):
    from trainer.after.place import recognise

    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for name, said in (("empty", "no run, checkpoint or export"), ("absent", "no such folder"), ("file", "is a file")):
        with pytest.raises(TrainerError, match=said):
            recognise(tmp_path / name)


def test_another_shape_in_config_json_is_said_and_not_loaded(make_run, shape):
    from trainer.after.source import open_model

    run, _ = make_run(shape())
    config = run / "config.json"
    config.write_text(config.read_text().replace('"width": 32', '"width": 64'))
    with pytest.raises(TrainerError, match=r"does not fit its own config\.json"):
        open_model(run)


def test_an_unknown_dtype_or_device_lists_those_that_are_known(make_run, shape):
    from trainer.after.source import open_model

    run, _ = make_run(shape())
    with pytest.raises(TrainerError, match="'fp8'") as refused:
        open_model(run, dtype="fp8")
    assert "fp32, bf16, fp16" in refused.value.next_step
    with pytest.raises(TrainerError, match="'tape'"):
        open_model(run, device="tape")


def test_bf16_computes_in_bf16(torch, make_run, shape):
    from trainer.after.source import open_model

    run, model = make_run(shape("llama"))
    loaded = open_model(run, device="cpu", dtype="bf16")
    tokens = torch.randint(0, 256, (1, 16))
    assert loaded.model.tokens.weight.dtype == torch.bfloat16
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(tokens).float(), model(tokens), atol=0.1, rtol=0.1)
