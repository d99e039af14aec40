"""The environment inside a container against the lock: each kind of difference is found, and spelling is none."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images import plan
from images.checks import inside, versions
from images.checks.expected import Expected, gpu_label
from profiles.bases import BaseFacts, DriverFloor, Fact

# profiles/tables/bases.yaml and facts of NGC 26.08: three spellings of one torch
CONFIG, IMPORTED, PIP = "2.14.0a0+4fdf77b", "2.14.0a0+4fdf77b940.nv26.08", "2.14.0a0+4fdf77b940.nv26.8.63802676"
FACTS = {"torch": CONFIG, "transformer_engine": "2.15", "cuda": "13.3.1.008", "cudnn": "9.22.0.50", "nccl": "2.30.4"}
EXPECTED = Expected(
    name="h100-fp8",
    python="3.12",
    facts=BaseFacts("nvcr.io/nvidia/pytorch:26.08-py3", True, {k: Fact(v, "probed") for k, v in FACTS.items()}),
    wheels={"safetensors": "0.6.2"},
    gpu=("h100-sxm", 8),
    floor=DriverFloor(580, 610, ("535.86",), "seen"),
)
H100 = {"name": "NVIDIA H100 80GB HBM3", "compute_capability": "9.0", "memory_bytes": 85_000_000_000}
SEEN: dict[str, Any] = {
    "environment": {
        "python": "3.12.3",
        "libraries": {
            "torch": {"version": PIP, "imports": True},
            "transformer_engine": {"version": "2.15.0+3cd6870", "imports": True},
            "flash_attn": None,
        },
        "torch": {"version": IMPORTED, "cuda": "13.3", "cudnn": 92200, "nccl": "2.30.4", "gpus": [H100] * 8},
        "driver": {"version": "610.43.02", "cuda": 13030, "branch": 610, "problem": None},
    },
    "distributions": {"safetensors": {"version": "0.6.2", "folder": "/opt/stoker/site"}},
    "modules": {"torch": "/usr/local/lib/python3.12/dist-packages/torch/__init__.py"},
    "shadowed": {},
    "hidden": {},
}


def outcome(expected: Expected = EXPECTED, gpus: bool = True, **changes: Any) -> dict[str, Any]:
    """check -> ok, after setting dotted paths of SEEN (`environment__python`) to other values."""
    seen = copy.deepcopy(SEEN)
    for path, value in changes.items():
        *folders, last = path.split("__")
        place = seen
        for folder in folders:
            place = place[folder]
        place[last] = value
    return {one.check: one.ok for one in versions.compare(expected, seen, gpus)}


def test_a_container_as_locked_passes_every_check():
    found = outcome()
    assert set(found.values()) == {True}
    assert {"python", "torch", "transformer_engine", "cuda", "cudnn", "nccl"} <= set(found)
    assert {"imports", "wheels", "shadowing", "driver", "gpus"} <= set(found)


@pytest.mark.parametrize(
    ("check", "path", "value"),
    [
        ("python", "environment__python", "3.11.9"),
        ("torch", "environment__libraries__torch__version", "2.14.0"),  # pip took PyPI's
        ("torch", "environment__libraries__torch__version", "2.14.0a0+deadbeef00.nv26.8"),  # another commit
        ("torch", "environment__libraries__torch__version", "2.13.0a0+4fdf77b940"),
        ("transformer_engine", "environment__libraries__transformer_engine", None),
        ("cuda", "environment__torch__cuda", "12.9"),
        ("cudnn", "environment__torch__cudnn", 91002),
        ("cudnn", "environment__torch__cudnn", None),
        ("nccl", "environment__torch__nccl", "2.27.3"),
        ("imports", "environment__libraries__flash_attn", {"version": "2.7.4", "imports": "ImportError: undefined"}),
        ("imports", "environment__torch", {"problem": "libcudart.so.13: cannot open"}),
        ("imports", "environment__torch", None),
        ("wheels", "distributions__safetensors", None),
        ("wheels", "distributions__safetensors__version", "0.5.0"),
        ("shadowing", "shadowed__numpy", ["/opt/stoker/site", "/usr/lib/python3/dist-packages"]),
        ("shadowing", "modules__torch", "/opt/stoker/site/torch/__init__.py"),
        ("driver", "environment__driver__version", "575.57.08"),
        ("driver", "environment__driver__version", "535.54.03"),
        ("driver", "environment__driver__cuda", None),
        ("gpus", "environment__torch__gpus", []),
        ("environment", "environment", {"problem": "No module named trainer"}),
    ],
)
def test_each_mutation_fires_its_own_check(check: str, path: str, value: Any):
    found = outcome(**{path: value})
    assert found[check] is False


def test_a_lesser_driver_within_a_compat_branch_is_accepted():
    assert outcome(environment__driver__version="535.129.03")["driver"] is True


def test_without_the_kernel_modules_version_the_branch_decides():
    assert outcome(environment__driver__version=None, environment__driver__branch=610)["driver"] is True
    assert outcome(environment__driver__version=None, environment__driver__branch=570)["driver"] is False


def test_other_gpus_than_the_profiles_are_a_note():
    assert outcome(environment__torch__gpus=[{**H100, "compute_capability": "8.9"}])["gpus"] is None
    assert outcome(environment__torch__gpus=[H100])["gpus"] is None  # one of eight


def test_without_gpus_nothing_is_asked_of_the_driver():
    assert not {"driver", "gpus"} & set(outcome(gpus=False))


def test_what_is_only_recalled_of_a_base_does_not_fail():
    recalled = BaseFacts("x", True, {"nccl": Fact("2.22.3", "recalled"), "cuda": Fact()})
    found = outcome(replace(EXPECTED, facts=recalled))
    assert found["nccl"] is None
    assert "cuda" not in found


def test_a_hidden_module_of_ours_is_a_note():
    assert outcome(hidden__tests=["/usr/lib/python3/dist-packages", "/opt/stoker/site"])["hidden"] is None


@pytest.mark.parametrize("have", [CONFIG, IMPORTED, PIP])
def test_three_spellings_of_one_build_are_one(have: str):
    assert versions.same_build(CONFIG, have)
    assert versions.same_build(have, CONFIG)


def test_builds_without_a_commit_agree_by_their_version_alone():
    assert versions.same_build("2.4", "2.4.0+3cd6870")
    assert not versions.same_build("2.5.0", "2.5.0a0+e000cf0ad9")  # PEP 440: a pre-release is another version
    assert not versions.same_build("2.5.0a0+e000cf0ad9", "2.5.0a0")  # a commit was promised


@given(major=st.integers(9, 12), minor=st.integers(0, 99), patch=st.integers(0, 99))
def test_torchs_number_of_cudnn_reads_back(major: int, minor: int, patch: int):
    assert versions.cudnn(major * 10000 + minor * 100 + patch) == f"{major}.{minor}.{patch}"


def test_cudnn_before_9_was_numbered_otherwise():
    assert versions.cudnn(8902) == "8.9.2"
    assert versions.cudnn(0) is None


def test_the_gpu_label_reads_back():
    assert gpu_label("8xh100-sxm") == ("h100-sxm", 8)
    assert gpu_label("none") is None


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """(base, ours): two package folders on sys.path, the base first, as the .pth file arranges them."""
    base, ours = tmp_path / "dist-packages", tmp_path / "opt/stoker/site"
    base.mkdir()
    ours.mkdir(parents=True)
    monkeypatch.setattr(inside, "HOME", str(tmp_path / "opt/stoker"))
    monkeypatch.setattr(sys, "path", [str(base), str(ours)])
    return base, ours


def package(folder: Path, name: str, version: str = "1.0") -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_inside_knows_where_ours_is():
    assert f"/{plan.HOME}" == inside.HOME


def test_a_module_only_we_have_overlaps_nothing(paths: tuple[Path, Path]):
    package(paths[1], "ownpackage")
    assert inside.modules(str(paths[1])) == ["ownpackage"]
    assert inside.overlap("ownpackage") is None
    assert inside.distribution("ownpackage") == {"version": "1.0", "folder": str(paths[1])}


def test_the_bases_module_wins_over_ours_and_says_so(paths: tuple[Path, Path]):
    package(paths[0], "twice", "1.0")
    package(paths[1], "twice", "2.0")
    assert inside.overlap("twice") == [str(paths[0]), str(paths[1])]
    assert not inside.is_ours(inside.overlap("twice")[0])
    assert inside.distribution("twice")["version"] == "1.0"


def test_ours_before_the_base_is_shadowing(paths: tuple[Path, Path]):
    """What PYTHONPATH=/opt/stoker/site in a profile's environment would do."""
    package(paths[0], "twice")
    package(paths[1], "twice")
    sys.path.reverse()
    assert inside.is_ours(inside.overlap("twice")[0])


def test_namespace_packages_may_share_their_name(paths: tuple[Path, Path]):
    for folder in paths:
        (folder / "nvidia").mkdir()
    assert "nvidia" in inside.modules(str(paths[1]))
    assert inside.overlap("nvidia") is None


def test_no_such_distribution(paths: tuple[Path, Path]):
    assert inside.distribution("not-there") is None
    assert inside.origin("not_there") is None
