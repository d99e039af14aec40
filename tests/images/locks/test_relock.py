"""`lock` through the tasks: what is pinned, what has drifted, what is never written."""

from __future__ import annotations

import json
from pathlib import Path

from images.registry.registries import Registries
from tests.conftest import Project
from tests.sim.ngc import push_ngc


def mirror(small: Project, registry: str, name: str, month: str = "25.06") -> Registries:
    """A mirror of the test's own, so that the base may move."""
    registries = Registries()
    push_ngc(registries.repository(f"{registry}/{name}/nvidia/pytorch:x"), month)
    small.env["STOKER_MIRROR"] = f"nvcr.io={registry}/{name}"
    return registries


def test_the_lock_holds_what_the_registry_told(small: Project):
    lock = json.loads((small.root / "profiles/locks/small.json").read_text())
    base = lock["bases"]["linux/amd64"]
    assert base["name"] == "nvcr.io/nvidia/pytorch:25.06-py3"  # the mirror is a detour, not a name
    assert base["digest"] != base["index_digest"]
    assert base["facts"]["cuda"] == "12.9.1.010"
    assert base["facts"]["transformer_engine"] == "2.4.0+3cd6870"


def test_nothing_moved_nothing_written(small: Project):
    path = small.root / "profiles/locks/small.json"
    before = path.read_bytes()
    assert small.inv("lock", "--profile", "small").returncode == 0
    assert path.read_bytes() == before
    assert small.inv("lock", "--profile", "small", "--check").returncode == 0


def test_a_moved_base_is_drift_with_its_consequences(small: Project, registry: str):
    registries = mirror(small, registry, "moving")
    small.inv("lock", "--profile", "small")
    # The tag now names what was another month: new CUDA, new Transformer Engine.
    pushed = push_ngc(registries.repository(f"{registry}/moving/nvidia/pytorch:x"), "25.10")
    registries.repository(f"{registry}/moving/nvidia/pytorch:x").for_push(()).put_manifest("25.06-py3", pushed.index)
    done = small.inv("lock", "--profile", "small", "--check")
    assert done.returncode == 1
    assert "cuda 12.9.1.010 -> 13.0.2.006" in done.stdout
    assert "transformer_engine 2.4.0+3cd6870 -> 2.8" in done.stdout
    locked = json.loads((small.root / "profiles/locks/small.json").read_text())
    assert locked["bases"]["linux/amd64"]["facts"]["cuda"] == "12.9.1.010"  # --check writes nothing


def test_a_build_stays_on_the_locked_base_when_the_tag_moves(small: Project, registry: str):
    registries = mirror(small, registry, "pinned")
    small.inv("lock", "--profile", "small")
    small.commit()
    [before] = small.json("build", "--profile", "small", "--locked")
    pushed = push_ngc(registries.repository(f"{registry}/pinned/nvidia/pytorch:x"), "25.10")
    registries.repository(f"{registry}/pinned/nvidia/pytorch:x").for_push(()).put_manifest("25.06-py3", pushed.index)
    [after] = small.json("build", "--profile", "small", "--locked")
    assert after["digest"] == before["digest"]


def test_a_registry_that_cannot_be_reached_leaves_the_lock_alone(small: Project):
    path = small.root / "profiles/locks/small.json"
    before = path.read_bytes()
    done = small.inv("lock", "--profile", "small", STOKER_MIRROR="nvcr.io=127.0.0.1:9")
    assert done.returncode == 3
    assert path.read_bytes() == before


def test_probed_facts_outrank_the_table(small: Project, registry: str):
    # A base that calls itself 25.06 but brings Transformer Engine 1.11 cannot do current scaling.
    registries = mirror(small, registry, "old")
    pushed = push_ngc(registries.repository(f"{registry}/old/nvidia/pytorch:x"), "24.10")
    registries.repository(f"{registry}/old/nvidia/pytorch:x").for_push(()).put_manifest("25.06-py3", pushed.index)
    done = small.inv("lock", "--profile", "small")
    assert done.returncode == 2
    assert "it needs Transformer Engine 2.2, the base has 1.11" in done.stderr


def test_base_packages_are_left_out_exactly(small: Project, tmp_path: Path):
    listed = tmp_path / "packages.json"
    listed.write_text(json.dumps([{"name": "packaging", "version": "25.0"}]))
    small.write("profiles/more.yaml", "extends: small\npython: {requirements: ['packaging>=24']}\n")
    done = small.inv("lock", "--profile", "more", "--base-packages", str(listed))
    assert done.returncode == 0, done.stderr
    lock = json.loads((small.root / "profiles/locks/more.json").read_text())
    assert lock["wheels"]["linux/amd64"] == []


def test_a_list_of_packages_that_is_none(small: Project, tmp_path: Path):
    (tmp_path / "x.json").write_text("{}")
    done = small.inv("lock", "--profile", "small", "--base-packages", str(tmp_path / "x.json"))
    assert done.returncode == 2 and "pip list --format=json" in done.stderr


def test_a_damaged_lock_is_locked_again_as_its_error_says(small: Project):
    path = small.root / "profiles/locks/small.json"
    path.write_text("{")
    for task in (["build", "--profile", "small"], ["lock", "--profile", "small", "--check"]):
        done = small.inv(*task)
        assert done.returncode == 2 and "lock again: ./inv lock --profile small" in done.stderr
    assert small.inv("lock", "--profile", "small").returncode == 0
    assert small.inv("lock", "--profile", "small", "--check").returncode == 0


def test_a_damaged_lock_of_the_state_folder_is_resolved_again(small: Project):
    (small.root / "profiles/locks/small.json").unlink()
    small.json("build", "--profile", "small")
    kept = Path(small.env["STOKER_HOME"]) / "locks" / "small.json"
    kept.write_text("[]")
    small.json("build", "--profile", "small")
    assert json.loads(kept.read_text())["profile"] == "small"
