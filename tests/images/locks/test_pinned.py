"""Wheel layers pinned by the lock: a clean machine neither fetches nor packs what the registry has."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.conftest import Project

NOWHERE = {"PIP_INDEX_URL": "file:///nowhere", "PIP_EXTRA_INDEX_URL": "", "PIP_CONFIG_FILE": "/dev/null"}


def index_with_wheel(folder: Path) -> str:
    """A package index of one wheel, as pip reads it from disk; its URL."""
    place = folder / "simple" / "demo"
    place.mkdir(parents=True)
    name = "demo-1.0-py3-none-any.whl"
    files = {
        "demo/__init__.py": "VERSION = '1.0'\n",
        "demo-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "demo-1.0.dist-info/METADATA": "Metadata-Version: 2.4\nName: demo\nVersion: 1.0\nLicense-Expression: MIT\n",
        "demo-1.0.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(place / name, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(zipfile.ZipInfo(path, (2024, 1, 1, 0, 0, 0)), text)
    (place / "index.html").write_text(f'<a href="{name}">{name}</a>')
    return f"file://{folder}/simple"


@pytest.fixture
def locked(small: Project, tmp_path: Path) -> Project:
    """The small profile with one wheel, locked, and the lock committed."""
    profile = small.root / "profiles" / "small.yaml"
    profile.write_text(profile.read_text().replace("requirements: []", "requirements: [demo]"))
    done = small.inv("lock", "--profile", "small", **{**NOWHERE, "PIP_INDEX_URL": index_with_wheel(tmp_path)})
    assert done.returncode == 0, done.stderr
    small.commit()
    return small


@pytest.fixture
def target(registry: str, tmp_path: Path) -> str:
    return f"{registry}/{tmp_path.name.lower()}"


def forget(project: Project) -> None:
    """A machine that has never built anything, and that no package index answers."""
    shutil.rmtree(project.env["STOKER_HOME"])


def lock_of(project: Project) -> dict:
    return json.loads((project.root / "profiles/locks/small.json").read_text())


def test_the_lock_holds_the_layer_that_a_build_makes(locked: Project):
    [pinned] = lock_of(locked)["layers"]["linux/amd64"]
    [row] = locked.json("build", "--profile", "small")
    layout = Path(locked.env["STOKER_HOME"]) / "layout" / "blobs" / "sha256"
    manifest = json.loads((layout / row["digest"][7:]).read_text())
    assert pinned["digest"] in [layer["digest"] for layer in manifest["layers"]]
    assert lock_of(locked)["wheels"]["linux/amd64"][0]["licence"] == {"expression": "MIT"}


def test_a_clean_machine_pushes_a_change_without_the_wheels(locked: Project, target: str):
    [first] = locked.json("push", "--profile", "small", "--registry", target)
    forget(locked)
    [again] = locked.json("push", "--profile", "small", "--registry", target, **NOWHERE)
    assert again["digest"] == first["digest"]
    assert again["bytes_sent"] == 0
    forget(locked)
    loop = locked.root / "trainer/run/loop.py"
    loop.write_text(loop.read_text() + "# one more line\n")
    locked.commit()
    [row] = locked.json("push", "--profile", "small", "--registry", target, **NOWHERE)
    assert row["reused"] == ["wheels"]
    assert not list((Path(locked.env["STOKER_HOME"]) / "wheels").glob("*/*.whl"))
    done = locked.inv("verify", row["pushed"])
    assert done.returncode == 0, done.stdout


def test_a_registry_without_the_layer_gets_it_made(locked: Project, target: str):
    forget(locked)
    done = locked.inv("push", "--profile", "small", "--registry", target, **NOWHERE)
    assert done.returncode == 3
    assert "demo" in done.stderr  # it went for the wheel


def test_a_layer_of_another_compressor_is_not_taken(locked: Project, target: str):
    locked.json("push", "--profile", "small", "--registry", target)
    value = lock_of(locked)
    value["layers"]["linux/amd64"][0]["compressor"] = "gzip by something else"
    locked.write("profiles/locks/small.json", json.dumps(value))
    locked.commit()
    forget(locked)
    done = locked.inv("push", "--profile", "small", "--registry", target, **NOWHERE)
    assert done.returncode == 3
