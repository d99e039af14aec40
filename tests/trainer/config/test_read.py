"""The config: later sources win, and every mistake is named with its place and what to do."""

from __future__ import annotations

import json

import pytest

from trainer.config import Config, Stage
from trainer.config import read as configuration
from trainer.config.check import check, micro_batches, resolve
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
        ("model.width=wide", "model.width is 'wide'", "a whole number"),
        ("model.width=1.5", "model.width is '1.5'", "a whole number"),
        ("train.deterministic=perhaps", "train.deterministic", "true or false"),
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
    "text",
    [
        "model.width=30",
        "train.steps=0",
        "precision.name=fp8",
        "optim.schedule=cosin",
        "guard.nan=hope",
        "optim.min_lr=1",
        "limits.dollars=5",
        "model.vocab=0",
        "checkpoint.keep=0",
    ],
)
def test_values_that_cannot_train_are_refused_before_anything_is_allocated(text):
    config = Config()
    configuration.apply_text(config, ["model.heads=4", text])
    with pytest.raises(TrainerError):
        check(config)


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


def test_yaml_and_json_say_the_same(tmp_path):
    (tmp_path / "a.yaml").write_text("train: {steps: 2000}\nlimits: {tokens: 1.5B}\nmodel: {tied: null}\n")
    (tmp_path / "a.json").write_text('{"train": {"steps": 2000}, "limits": {"tokens": 1500000000}}')
    configs = []
    for name in ("a.yaml", "a.json"):
        configs.append(Config())
        configuration.apply_file(configs[-1], str(tmp_path / name))
    assert configs[0] == configs[1] and configs[0].limits.tokens == 1_500_000_000


def test_the_curriculum_is_a_list_or_a_text():
    one, other = Config(), Config()
    configuration.apply(one, {"curriculum": [{"length": 8, "tokens": "1M"}, {"length": 64}]}, "file")
    configuration.apply_text(other, ["curriculum=8:1M,64"])
    assert one.curriculum == other.curriculum == [Stage(8, 1_000_000), Stage(64, 0)]


@pytest.mark.parametrize(
    ("text", "what"),
    [("curriculum=8:lots,64", r"'8:lots' is no stage"), ("curriculum=", "")],
)
def test_a_curriculum_that_is_none_is_named(text, what):
    if what:
        with pytest.raises(TrainerError, match=what):
            configuration.apply_text(Config(), [text])
    else:
        config = Config()
        configuration.apply_text(config, [text])
        assert config.curriculum == []


def test_the_depth_dial_sets_layers_width_and_heads():
    config = Config()
    configuration.apply_text(config, ["model.family=nanochat", "model.depth=26"])
    resolve(config)
    assert (config.model.layers, config.model.width, config.model.heads) == (26, 1664, 13)
    config.model.depth = 25  # 1600 is no multiple of 128
    with pytest.raises(TrainerError, match="width 1600"):
        resolve(config)


def test_a_batch_that_does_not_divide_names_those_that_do():
    config = Config()
    config.train.batch = 30
    with pytest.raises(TrainerError, match="30 does not divide over 4 ranks") as caught:
        micro_batches(config, 4, 1)
    assert "28 or 32" in caught.value.next_step
    with pytest.raises(TrainerError, match="micro_batch 4 does not divide the 15 windows") as caught:
        micro_batches(config, 2, 4)
    assert "1, 3, 5, 15" in caught.value.next_step
    assert micro_batches(config, 2, 5) == 3


def test_the_baked_profile_brings_precision_and_sharding():
    config = Config()
    profile = {
        "precision": "fp8-current",
        "attention": "flash",
        "parallelism": {"zero": 2, "offload": "optimizer"},
        "trainer": {"train": {"batch": 64}},
    }
    configuration.apply_hardware(config, profile)
    assert config.precision.name == "fp8-current" and config.model.attention == "flash"
    assert (config.parallel.zero, config.parallel.offload, config.train.batch) == (2, "optimizer", 64)


def test_fp8_is_the_recipe_that_keeps_no_state():
    config = Config()
    configuration.apply_text(config, ["precision.name=fp8"])
    resolve(config)
    assert config.precision.name == "fp8-current"
    check(config)
