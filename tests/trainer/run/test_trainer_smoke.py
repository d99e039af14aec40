"""The smoke test inside the container passes on a sound trainer and fails on one that forgets."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.usefixtures("torch")

HUGE = {"layers": 64, "heads": 32, "width": 4096, "context": 2048, "vocab": 32}


def test_smoke_trains_kills_resumes_and_compares(trainer, tmp_path):
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"profile": "h100", "gpu": None, "trainer": {"model": HUGE}}))
    done = trainer("smoke", "--profile", str(profile), "--set", "train.device=cpu", "--set", "model.layers=1")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ok"] and result["steps"] == 40 and 20 < result["killed_after_step"] < 40
    assert result["last_loss"] < result["first_loss"] and result["tokens_per_s"] > 0
    assert result["environment"]["torch"]["version"]


def test_smoke_passes_on_the_trainers_own_error(trainer):
    done = trainer("smoke", "--set", "model.width=33")
    assert done.returncode == 1 and "model.heads 4 does not divide model.width 33" in done.stderr
