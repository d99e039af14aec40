"""The config: later sources win, and every mistake is named with its place and what to do."""

from __future__ import annotations

import json

import pytest

from trainer import config as configuration
from trainer.config import Config
from trainer.errors import TrainerError


def test_later_sources_win(tmp_path):
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"model": {"width": 128}, "optim": {"lr": 1}}))
    config = Config()
    configuration.apply(config, {"model": {"width": 96, "layers": 3}}, "profile")
    configuration.apply_file(config, str(file))
    configuration.apply_text(config, ["optim.lr=1e-4", "train.deterministic=no"])
    assert (config.model.width, config.model.layers) == (128, 3)
    assert config.optim.lr == 1e-4 and isinstance(config.optim.lr, float)
    assert config.train.deterministic is False


def test_config_survives_its_own_json(small):
    again = Config()
    configuration.apply(again, json.loads(json.dumps(small.to_json())), "json")
    assert again == small


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("model.widht=1", "unknown key model.widht", "width"),
        ("modle.width=1", "unknown key modle", "model"),
        ("model=1", "not of the form", "--set model.width=128"),
        ("model.width=wide", "model.width is 'wide'", "int"),
        ("model.width=1.5", "model.width is '1.5'", "int"),
        ("train.deterministic=perhaps", "train.deterministic", "bool"),
    ],
)
def test_mistakes_are_named_with_what_to_do(text, what, hint):
    with pytest.raises(TrainerError) as caught:
        configuration.apply_text(Config(), [text])
    assert what in caught.value.what and hint in caught.value.next_step
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("value", [True, 1.5, None, [1]])
def test_json_of_the_wrong_type_is_refused(value):
    with pytest.raises(TrainerError, match=r"profile: train\.steps"):
        configuration.apply(Config(), {"train": {"steps": value}}, "profile")


@pytest.mark.parametrize(
    "text", ["model.width=30", "train.steps=0", "train.precision=fp8", "model.vocab=0", "checkpoint.keep=0"]
)
def test_values_that_cannot_train_are_refused_before_anything_is_allocated(text):
    config = Config()
    configuration.apply_text(config, ["model.heads=4", text])
    with pytest.raises(TrainerError):
        configuration.check(config)


def test_unreadable_files_are_wrong_input(tmp_path, trainer):
    (tmp_path / "broken.json").write_text("{")
    for file in ("missing.json", "broken.json"):
        done = trainer("train", "--show", "--config", file)
        assert done.returncode == 2 and file in done.stderr and "Traceback" not in done.stderr


def test_flags_win_over_profile_and_show_trains_nothing(tmp_path, trainer):
    profile = tmp_path / "profile.json"
    content = {"profile": "tiny", "gpu": None, "trainer": {"train": {"steps": 7}, "checkpoint": {"every": 3}}}
    profile.write_text(json.dumps(content))
    done = trainer("train", "--show", "--profile", str(profile), "--steps", "9", STOKER_HOME_DIR=str(tmp_path))
    shown = json.loads(done.stdout)
    assert shown["config"]["train"]["steps"] == 9 and shown["config"]["checkpoint"]["every"] == 3
    assert shown["run"] == str(tmp_path / "runs" / "tiny")
    assert not (tmp_path / "runs").exists()
