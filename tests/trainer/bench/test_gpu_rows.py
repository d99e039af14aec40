"""The GPU rows of the benchmark, on a CPU: the runs train in what they say, and the summary is of their files."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("torch")

SMALL = (
    "model.family=llama",
    "model.layers=1",
    "model.width=64",
    "model.heads=2",
    "model.ffn=64",
    "model.context=64",
    "train.batch=4",
    "train.device=cpu",
    "train.steps=12",
    "optim.warmup=1",
    "precision.min_dim=32",
)


def test_both_precisions_train_from_the_same_start(tmp_path, monkeypatch):
    from trainer.bench import gpu

    monkeypatch.setenv("STOKER_FP8_EMULATE", "1")
    found = {}
    for name, asked in (("bf16", []), ("fp8", ["precision.backend=native"])):
        precision = "fp8-current" if name == "fp8" else name
        gpu._run(tmp_path / name, [*SMALL, f"precision.name={precision}", *asked])
        found[name] = gpu._summary(tmp_path / name, 12)
        assert precision in (tmp_path / name / "precision.json").read_text()
    assert found["fp8"]["first_loss"] == pytest.approx(found["bf16"]["first_loss"], abs=0.05)
    assert found["bf16"]["last_loss"] < found["bf16"]["first_loss"]
    assert found["bf16"]["tokens_per_s"] > 0 and found["bf16"]["mfu"]["bf16"] is None, "a CPU has no named peak"


def test_without_a_gpu_it_says_so_and_measures_nothing(trainer):
    done = trainer("bench", "--gpu", CUDA_VISIBLE_DEVICES="")
    assert done.returncode in (2, 3) and "no GPU" in done.stderr and done.stdout == ""
