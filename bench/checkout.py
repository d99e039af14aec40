"""A clone of this checkout in a folder of its own, as a user has one: changed, committed and built by `./inv`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import Sample, measure

ROOT = Path(__file__).resolve().parent.parent
CHANGED = "trainer/run/loop.py"
WHO = {
    "GIT_AUTHOR_NAME": "bench",
    "GIT_AUTHOR_EMAIL": "bench@localhost",
    "GIT_COMMITTER_NAME": "bench",
    "GIT_COMMITTER_EMAIL": "bench@localhost",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}


@dataclass
class Checkout:
    """root: the clone; home: its state folder; registry: HOST:PORT that stands for nvcr.io and is pushed to."""

    root: Path
    home: Path
    registry: str
    profile: str
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STOKER_")}
        return {**kept, "STOKER_HOME": str(self.home), "STOKER_MIRROR": f"nvcr.io={self.registry}", **self.extra}

    def inv(self, *arguments: str) -> Sample:
        """`./inv ...` to its end. Raises measure.Failed."""
        return measure([self.root / "inv", *arguments], env=self.env, cwd=self.root)

    def push(self) -> tuple[Sample, dict[str, Any]]:
        """Build and push: the sample, and what Stoker says it did."""
        registry = f"{self.registry}/stoker"
        sample = self.inv("build", "--profile", self.profile, "--push", "--registry", registry, "--json")
        return sample, json.loads(sample.out)[0]

    def change(self, number: int) -> None:
        """One more line in the trainer, committed."""
        with (self.root / CHANGED).open("a", encoding="utf-8") as file:
            file.write(f"# change {number}\n")
        self.git("commit", "-q", "-a", "-m", f"change {number}")

    def git(self, *arguments: str) -> None:
        subprocess.run(["git", "-C", str(self.root), *arguments], env={**os.environ, **WHO}, check=True)


def clone(folder: Path) -> Path:
    """The files of this checkout as they are now, uncommitted ones included, as one commit in a new repository.

    .venv is shared: making it is not what is measured.
    """
    folder.mkdir(parents=True)
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    )
    copy([name for name in listed.stdout.split("\0") if name], folder)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    found = Checkout(folder, folder, "", "")
    found.git("init", "-q", "-b", "main")
    with (folder / ".git" / "info" / "exclude").open("a") as excluded:
        excluded.write(".venv\n")  # a link here, which `.venv/` of .gitignore does not match
    found.git("add", "-A")
    found.git("commit", "-q", "-m", "as it is")
    return folder


def copy(names: Sequence[str], folder: Path) -> None:
    for name in names:
        source, target = ROOT / name, folder / name
        if source.is_symlink() or source.is_file():  # deleted but still in the index: neither
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target, follow_symlinks=False)


def working_tree() -> str:
    """What was measured: commit, and whether files differed from it."""
    line = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=12", "--dirty"], capture_output=True, text=True
    )
    return line.stdout.strip()
