"""The state folder `.stoker/`: what was built, fetched and sent. `prune` can rebuild all of it except the ledger."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from images.oci.layout import Layout


@dataclass(frozen=True)
class Store:
    """Paths below one state folder. Folders are made when first used."""

    root: Path

    def folder(self, *parts: str) -> Path:
        path = self.root.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    @cached_property
    def layout(self) -> Layout:
        """Every image, base manifest and blob we hold, as one OCI layout that other tools can read."""
        from images.oci.layout import Layout

        return Layout(self.folder("layout"))

    @property
    def cache(self) -> Path:
        """layer key -> blob."""
        return self.folder("cache")

    @property
    def wheels(self) -> Path:
        """Wheel files, named by their sha256."""
        return self.folder("wheels")

    @property
    def bases(self) -> Path:
        """What bootstrapped bases came out as."""
        return self.folder("bases")

    @property
    def journal(self) -> Path:
        """Half-sent blobs; upload URLs inside are secrets."""
        path = self.folder("journal")
        path.chmod(0o700)
        return path

    @property
    def record(self) -> Path:
        """Which registry holds which blob."""
        return self.folder("record")

    @property
    def images(self) -> Path:
        """One JSON per built image: plan, digest, when."""
        return self.folder("images")


def open_store(root: Path) -> Store:
    """The store of a checkout, or the one STOKER_HOME names."""
    return Store(Path(os.environ.get("STOKER_HOME") or root / ".stoker").absolute())
