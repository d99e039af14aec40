"""What `inspect` says of runs, checkpoints and exports, whole and damaged."""

from __future__ import annotations

import json

import pytest

WEIGHTS = "weights-00000-00.safetensors"


def test_a_run_tells_its_shape_its_checkpoints_and_where_it_stands(make_run, shape):
    from trainer.after.inspect import inspect

    run, model = make_run(shape("llama", kv_heads=2), steps=(2, 11))
    lines = [
        {"event": "step", "step": 11, "loss": 3.25},
        {"event": "eval", "step": 10, "val_loss": 3.5, "bits_per_byte": 5.0},
    ]
    (run / "training_metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = inspect(run)
    assert report["damage"] is None
    assert report["parameters"]["total"] == sum(parameter.numel() for parameter in model.parameters())
    assert [row["checkpoint"] for row in report["checkpoints"]] == ["step-00000002", "step-00000011"]
    assert report["checkpoints"][1]["pointers"] == ["latest"]
    assert (report["step"], report["tokens"], report["engine"]["kind"]) == (11, 1100, "ddp")
    assert report["losses"]["train"] == {"step": 11, "loss": 3.25}
    assert report["losses"]["validation"]["val_loss"] == 3.5
    assert report["tokenizer"] == {"kind": "bytes", "name": "bytes", "vocab": 256, "eot": None}
    assert report["model"]["kv_heads"] == 2


@pytest.mark.parametrize(
    ("damage", "state"),
    [("byte", f"{WEIGHTS} has another sha256"), ("short", f"{WEIGHTS} has"), ("gone", f"{WEIGHTS}: No such file")],
)
def test_damage_is_named(make_run, shape, damage, state):
    from trainer.after.inspect import inspect

    run, _ = make_run(shape())
    file = run / "checkpoints/step-00000005/weights-00000-00.safetensors"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content if damage == "byte" else content[:-5])
    assert state in inspect(run)["damage"]
    report = inspect(file.parent)
    assert state in report["damage"]
    assert next(row for row in report["files"] if row["file"] == "weights-00000-00.safetensors")["state"] != "whole"


def test_quick_compares_sizes_only(make_run, shape):
    from trainer.after.inspect import inspect

    run, _ = make_run(shape())
    file = run / "checkpoints/step-00000005/weights-00000-00.safetensors"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    assert inspect(run, hashes=False)["damage"] is None
    file.write_bytes(content[:-1])
    assert "weights-00000-00.safetensors" in inspect(run, hashes=False)["damage"]


def test_a_broken_manifest_or_config_does_not_end_the_look(make_run, shape):
    from trainer.after.inspect import inspect

    run, _ = make_run(shape())
    (run / "config.json").write_text("{")
    assert "not JSON" in inspect(run)["config_damage"]
    (run / "checkpoints/step-00000005/manifest.json").write_text("{")
    assert "manifest.json cannot be read" in inspect(run)["damage"]


def test_an_export_tells_its_shape_dtype_files_and_damage(make_run, shape, tmp_path):
    from trainer.after.export import export
    from trainer.after.inspect import inspect

    run, _ = make_run(shape("nanochat"))
    export(run, tmp_path / "out", dtype="bf16", shard_bytes=20_000)
    report = inspect(tmp_path / "out")
    assert (report["dtype"], report["step"], report["damage"]) == ("bfloat16", 5, None)
    assert report["stored"] == 14
    file = next((tmp_path / "out").glob("model-00002*"))
    file.write_bytes(file.read_bytes()[:-1])
    assert file.name in inspect(tmp_path / "out")["damage"]
    file.unlink()
    assert inspect(tmp_path / "out")["damage"] == f"{file.name}: missing"


def test_tensors_have_the_norms_of_the_parameters(torch, make_run, shape):
    from trainer.after.inspect import inspect

    run, model = make_run(shape())
    rows = {row["name"]: row for row in inspect(run, tensors=True)["tensors"]}
    assert rows.keys() == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert rows[name]["norm"] == pytest.approx(float(parameter.detach().norm()), rel=1e-5)
        assert rows[name]["shape"] == list(parameter.shape)


def test_the_command_needs_no_torch_and_its_exit_code_tells_of_damage(trainer, make_run, shape, tmp_path):
    run, _ = make_run(shape())
    blocked = tmp_path / "blocked"
    (blocked / "torch").mkdir(parents=True)
    (blocked / "torch/__init__.py").write_text("raise ModuleNotFoundError('torch is blocked', name='torch')")
    from pathlib import Path

    path = {"PYTHONPATH": f"{blocked}:{Path(__file__).parents[3]}"}
    done = trainer("inspect", str(run), "--json", **path)
    assert (done.returncode, json.loads(done.stdout)["step"]) == (0, 5), done.stderr
    refused = trainer("inspect", str(run), "--tensors", **path)
    assert (refused.returncode, "pip install torch" in refused.stderr) == (3, True), refused.stderr
    (run / "checkpoints/step-00000005/weights-00000-00.safetensors").write_bytes(b"")
    damaged = trainer("inspect", str(run), **path)
    assert (damaged.returncode, "weights-00000-00.safetensors has 0 bytes" in damaged.stdout) == (1, True)
