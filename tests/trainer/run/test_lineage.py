"""Where a checkpoint comes from stands in its manifest."""

from __future__ import annotations

import re

import pytest

from trainer.checkpoint import folder, manifest

pytestmark = pytest.mark.usefixtures("torch")


def train(config, run) -> dict:
    from trainer.run.loop import train
    from trainer.run.stop import StopRequest

    assert train(config, run, StopRequest()) == 0
    return manifest.read(run / "checkpoints" / folder.name_of(config.train.steps))


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    from trainer.run import lineage

    lineage._code.cache_clear()
    monkeypatch.delenv("STOKER_IMAGE", raising=False)
    yield
    lineage._code.cache_clear()


def test_each_checkpoint_names_its_parent_by_hash(tmp_path, small):
    small.train.steps = 20
    newest = train(small, tmp_path)
    before = manifest.read(tmp_path / "checkpoints" / folder.name_of(10))
    assert newest["lineage"]["parent"] == {"checkpoint": "step-00000010", "sha256": before["sha256"]}
    assert before["lineage"]["parent"] is None
    small.train.steps = 25
    assert train(small, tmp_path)["lineage"]["parent"]["sha256"] == newest["sha256"], "across attempts too"


def test_it_tells_code_data_and_hardware(torch, tmp_path, small):
    told = train(small, tmp_path)["lineage"]
    assert re.fullmatch("[0-9a-f]{40}", told["commit"]), "tests run from a checkout"
    assert re.fullmatch("[0-9a-f]{64}", told["data"])
    assert told["hardware"]["ranks"] == 1 and told["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize("dirty", ["", "-dirty"])
@pytest.mark.parametrize("digest", ["", "@sha256:" + "a" * 64])
def test_in_an_image_commit_and_plan_are_those_of_its_tag(tmp_path, small, monkeypatch, dirty, digest):
    name = f"registry.example/stoker:h100-fp8-0.1.0-g0123456789ab{dirty}-fedcba987654{digest}"
    monkeypatch.setenv("STOKER_IMAGE", name)
    told = train(small, tmp_path)["lineage"]
    assert (told["image"], told["commit"], told["plan"]) == (name, "0123456789ab", "fedcba987654")
