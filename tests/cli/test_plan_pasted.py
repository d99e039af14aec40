"""What a plan says to type can be typed: flags at `plan`, keys at the trainer; a profile as it is read there."""

from __future__ import annotations

from pathlib import Path

from tests.cli.plan_command import ROOT, Command
from trainer.config import Config
from trainer.config.check import check, micro_batches, resolve
from trainer.config.read import apply_text

NODE = ("--gpu", "h100-sxm", "--gpu-count", "8", "--offline")


def test_each_change_is_told_with_the_flags_that_plan_it(plan: Command):
    words = ("--model", "llama-3-8b", "--gpu", "rtx4090", "--gpu-count", "8", "--offline")
    changes = plan(*words, "--json").document["chosen"]["changes"]
    more = next(one for one in changes if one["setting"] == "gpu.count=16")
    assert more["flags"] == "--gpu-count 16"
    found = plan(*words[:4], *more["flags"].split(), "--offline", "--json").document
    assert found["chosen"]["gpus"] == 16 and (found["verdict"] == "fits") == more["fits"]


def test_what_to_train_with_is_a_configuration_that_the_trainer_takes(plan: Command):
    out = " ".join(plan("--depth", "20", *NODE, "--length", "1024").out.split())
    keys = out.partition("train with ")[2].partition(" (")[0].split()
    config = Config()
    apply_text(config, ["model.family=nanochat", "model.depth=20", *keys])
    resolve(config)
    check(config)
    assert (config.train.compile, config.model.context) == (True, 1024)
    assert micro_batches(config, 8, config.train.micro_batch) >= 1


def test_the_attention_of_a_profile_is_planned(plan: Command, tmp_path: Path):
    text = (ROOT / "profiles" / "l40s-fp8.yaml").read_text()
    (tmp_path / "own.yaml").write_text(f"{text}\nattention: sdpa\n")
    found = plan("--profile", str(tmp_path / "own.yaml"), "--offline", "--json").document
    assert found["chosen"]["setup"]["attention"] == "flash"
    assert plan("--profile", "l40s-fp8", "--offline", "--json").document["chosen"]["setup"]["attention"] == "te"
