"""A real image of the profile `small`, built and pushed to the test registry once; state folders that know of it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import make_project

# As the `small` of tests/conftest.py, on a base that does with the drivers that most simulated machines have.
SMALL = """\
description: Stands on the simulated NGC base and needs no wheels.
extends: h100-fp8
precision: bf16
base: {image: nvcr.io/nvidia/pytorch:24.10-py3}
python: {requirements: []}
"""


@dataclass(frozen=True)
class Built:
    """state: folder of the project that built it; profile: path of its YAML; row: what `build` said."""

    state: Path
    profile: Path
    home: str  # HOST/NAME
    tag: str
    digest: str
    mirror: str

    def copy_state(self, folder: Path) -> Path:
        """A state folder of one's own that knows of the image."""
        shutil.copytree(self.state, folder)
        return folder


def build_small(folder: Path, registry: str, ngc: str, name: str) -> Built:
    """Locks, builds and pushes `small` to a repository of its own."""
    (folder / "home").mkdir()
    project = make_project(folder / "checkout", folder / "home")
    profile = project.write("profiles/small.yaml", SMALL)
    project.env["STOKER_MIRROR"] = ngc
    done = project.inv("lock", "--profile", "small")
    assert done.returncode == 0, done.stderr
    project.commit("small profile")
    home = f"{registry}/{name}"
    [row] = project.json("build", "--profile", "small", "--push", "--registry", home)
    return Built(folder / "home" / "state", profile, home, row["tag"], row["digest"], ngc)
