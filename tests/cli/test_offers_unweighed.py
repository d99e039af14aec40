"""`offers --gpu` without a profile: a flag of the training is never ignored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.fleet_command import Stage, staged

H100 = ("offers", "--gpu", "h100-sxm", "--gpu-count", "8")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    (tmp_path / "user").mkdir()
    with staged(tmp_path / "user", tmp_path / "state", monkeypatch, capsys) as here:
        yield here


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--model-size medium", "--model-size means nothing"),
        ("--model-size huge", "--model-size means nothing"),
        ("--steps -1", "--steps means nothing"),
        ("--steps 10 --tokens 5M", "--steps and --tokens mean nothing"),
        ("--set train.batch=8 --depth 12", "--depth and --set mean nothing"),
        ("--device-batch-size 8", "--device-batch-size means nothing"),
        ("--any-gpu", "--any-gpu means nothing"),
    ],
)
def test_what_is_typed_of_a_training_is_refused_with_what_would_weigh_it(stage: Stage, words: str, told: str):
    said = stage(*H100, *words.split())
    assert said.code == 2 and said.out == ""
    assert told in said.err and "add --profile NAME" in said.err and "./inv plan" in said.err


def test_gpus_alone_are_offered(stage: Stage):
    said = stage(*H100)
    assert said.code == 0 and "8 x h100-sxm" in said.out and "to finish" not in said.out


def test_with_a_profile_it_is_weighed_and_a_wrong_one_is_told_as_plan_tells_it(stage: Stage):
    said = stage(*H100, "--profile", "h100-fp8", "--model-size", "medium")
    assert said.code == 0 and "to finish" in said.out, said.err
    wrong = stage(*H100, "--profile", "h100-fp8", "--steps", "-1")
    assert wrong.code == 2 and "--steps -1 is too small" in wrong.err


def test_the_profile_of_the_surroundings_counts_as_one(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    (stage.folder / "stoker.yaml").write_text("profile: h100-fp8\n")
    said = stage(*H100, "--model-size", "medium")
    assert said.code == 0 and "to finish" in said.out, said.err
