"""What DeepSpeed itself saved, taken over: every master and moment bit by bit, and training that goes on from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PART = Path(__file__).with_name("deepspeed_rank.py")
LAUNCHED = """
import sys
from trainer.parallel.launch import launch
sys.exit(launch([], int(sys.argv[1]), sys.argv[2:]))
"""
FORMS = {
    **{f"stage-{stage}-{name}": {"stage": stage, "precision": name} for stage in range(4) for name in ("fp32", "bf16")},
    "stage-0-bf16-flat": {"stage": 0, "precision": "bf16", "fused": True},
    "stage-1-sums-in-fp32": {"stage": 1, "precision": "bf16", "settings": {"data_types": {"grad_accum_dtype": "fp32"}}},
    "stage-1-elastic": {"stage": 1, "precision": "bf16", "zero": {"elastic_checkpoint": True}},
    "stage-2-fp16": {"stage": 2, "precision": "fp16"},
    "stage-2-round-robin": {"stage": 2, "precision": "bf16", "zero": {"round_robin_gradients": True}},
    "stage-2-offloaded": {"stage": 2, "precision": "bf16", "offload": True},
    "stage-3-sub-groups": {"stage": 3, "precision": "bf16", "sub_group": 2000},
}
PLAIN = [f"stage-{stage}-{name}" for stage in range(4) for name in ("fp32", "bf16")]
RANKS = {1: PLAIN, 2: list(FORMS), 4: ["stage-3-fp32", "stage-3-bf16", "stage-3-sub-groups"]}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def theirs(torch, tmp_path_factory):
    """Folders by form, and what DeepSpeed's engines held, of that many ranks; each number is launched once."""
    if os.environ.get("CI") != "true":
        pytest.importorskip("deepspeed")
    done: dict[int, tuple[Path, dict]] = {}

    def saved(ranks: int) -> tuple[Path, dict]:
        if ranks not in done:
            root = tmp_path_factory.mktemp(f"deepspeed-{ranks}")
            jobs = [{"name": name, "folder": str(root / name), **FORMS[name]} for name in RANKS[ranks]]
            (root / "jobs.json").write_text(json.dumps(jobs))
            known = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
            run = subprocess.run(
                [sys.executable, "-c", LAUNCHED, str(ranks), sys.executable, str(PART), str(root / "result.pt"),
                 str(root / "jobs.json")],
                env={**known, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
                cwd=root, capture_output=True, text=True, timeout=170, check=False,
            )  # fmt: skip
            assert run.returncode == 0, run.stderr[-5000:]
            done[ranks] = root, torch.load(root / "result.pt")
        return done[ranks]

    return saved


@pytest.fixture
def config(torch):
    from tests.trainer.after.deepspeed_rank import configured

    return configured()


def same(torch, checkpoint: Path, held: dict) -> None:
    from trainer.checkpoint.tensors import Checkpoint

    stored = Checkpoint(checkpoint)
    assert stored.names("weight").keys() == held.keys()
    for name, kinds in held.items():
        for kind, tensor in kinds.items():
            assert torch.equal(stored.whole(kind, name), tensor), (kind, name)


@pytest.mark.parametrize(("ranks", "form"), [(ranks, form) for ranks, forms in RANKS.items() for form in forms])
def test_every_master_and_moment_is_the_live_engines_to_the_bit(theirs, torch, config, tmp_path, ranks, form):
    from trainer.after.deepspeed_import import Place, bring

    root, seen = theirs(ranks)
    done = bring(root / form, None, config, tmp_path / "run", Place())
    assert (done["stage"], done["ranks"]) == (FORMS[form]["stage"], ranks)
    assert (done["step"], done["samples"], done["precision"]) == (3, 24, FORMS[form]["precision"])
    same(torch, tmp_path / "run/checkpoints" / done["checkpoint"], seen[form]["held"])


@pytest.mark.parametrize("form", ["stage-1-bf16", "stage-3-fp32"])
def test_a_universal_checkpoint_is_taken_over_too(theirs, torch, config, tmp_path, form):
    from trainer.after.deepspeed_import import Place, bring

    root, seen = theirs(2)
    module = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
    workers = ["--num_extract_workers", "1", "--num_merge_workers", "1"]
    folders = ["--input_folder", str(root / form / "global_step3"), "--output_folder", str(tmp_path / "theirs/whole")]
    environment = {**os.environ, "DS_ACCELERATOR": "cpu"}
    subprocess.run([*module, *folders, *workers], env=environment, capture_output=True, timeout=100, check=True)
    done = bring(tmp_path / "theirs", None, config, tmp_path / "run", Place())
    assert done["tag"] == "whole"
    same(torch, tmp_path / "run/checkpoints" / done["checkpoint"], seen[form]["held"])


@pytest.mark.parametrize(("form", "ranks", "more"), [
    ("stage-0-fp32", 2, ()),
    ("stage-3-fp32", 4, ("--ranks", "2", "--set", "parallel.zero=2")),
])  # fmt: skip
def test_training_goes_on_as_deepspeed_itself_does(theirs, config, trainer, tmp_path, form, ranks, more):
    from trainer.run import folder as runs

    root, seen = theirs(ranks)
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    own = ("--run", str(tmp_path / "run"), "--config", str(tmp_path / "config.json"))
    # as on a machine without DeepSpeed
    program = f"""
import argparse, sys
sys.modules["deepspeed"] = None
from trainer.commands import importing
parser = argparse.ArgumentParser()
importing.register(parser.add_subparsers())
options = parser.parse_args({["import", str(root / form), *own]!r})
sys.exit(options.act(options))
"""
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
                          capture_output=True, text=True, timeout=100, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    trained = trainer("train", *own, "--steps", "5", *more)
    assert trained.returncode == 0, trained.stderr
    assert "resuming from step-00000003" in trained.stderr
    losses = runs.losses(tmp_path / "run")
    assert list(losses) == [4, 5]
    assert list(losses.values()) == pytest.approx(seen[form]["losses"], rel=1e-5)
