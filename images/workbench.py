"""What every image task works with, resolved once at the entrance and passed on."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from images.progress import Progress, Silent
from images.store import Store, open_store
from profiles.settings import settings

if TYPE_CHECKING:
    from images.checkout import Checkout
    from images.registry.registries import Registries

T = TypeVar("T")


@dataclass(frozen=True)
class Workbench:
    """root: the checkout; settings: from stoker.yaml, the environment and flags."""

    root: Path
    store: Store
    settings: dict[str, str] = field(default_factory=dict)
    progress: Progress = field(default_factory=Silent)

    @cached_property
    def checkout(self) -> Checkout:
        from images.checkout import read

        return read(self.root)

    @cached_property
    def registries(self) -> Registries:
        """Opens repositories with the user's credentials, mirrors and insecure hosts."""
        from images.registry.registries import Registries

        # The settings already hold the environment's values, with the flags over them.
        named = {f"STOKER_{name.upper()}": value for name, value in self.settings.items()}
        return Registries.from_env({**os.environ, **named}, progress=self.progress)

    @cached_property
    def version(self) -> str:
        """Stoker's version, which is the version in the tags."""
        import tomllib

        version: str = tomllib.loads((self.root / "pyproject.toml").read_text())["project"]["version"]
        return version

    def kill_proof(self, work: Callable[[], T]) -> T:
        """Do a long transfer in a child that finishes its chunks even when this process is killed.

        Raises what `work` raises, StoppedEarly after Ctrl-C.
        """
        from images.registry.survive import surviving

        self.registries.close()  # a fork must not share connections
        return surviving(work)


def open_workbench(root: Path, progress: Progress, **flags: str) -> Workbench:
    """The workbench of a checkout; flags that are not empty outrank the settings of the folder and environment."""
    found = settings(Path.cwd())
    found.update({name: value for name, value in flags.items() if value})
    return Workbench(root, open_store(root), found, progress)
