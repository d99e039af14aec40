"""The state of the checkout an image is built from: commit, its time, and whether files differ from it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from images import git

# What decides an image: a change anywhere else (README, tests) does not make the tree dirty.
DECIDES = ("profiles", "images", "templates", "trainer", "pyproject.toml")
NO_COMMIT = "0" * 40


@dataclass(frozen=True, slots=True)
class Checkout:
    """commit: 40 hex digits (zeros when there is none); epoch: seconds since 1970 of the commit, not of the clock."""

    root: Path
    commit: str
    epoch: int
    dirty: bool

    @property
    def created(self) -> str:
        """The commit's time in RFC 3339, UTC."""
        return datetime.fromtimestamp(self.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read(root: Path) -> Checkout:
    """The checkout at `root`. Outside git: no commit, epoch from SOURCE_DATE_EPOCH or 0, dirty."""
    head = git.output(root, "log", "-1", "--format=%H %ct", "--no-show-signature")
    # https://reproducible-builds.org/specs/source-date-epoch/: an explicit epoch outranks the commit's time.
    forced = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not head:
        return Checkout(root, NO_COMMIT, int(forced) if forced.isdigit() else 0, True)
    commit, epoch = head.decode().split()
    changed = git.output(root, "status", "--porcelain", "--", *DECIDES)
    return Checkout(root, commit, int(forced) if forced.isdigit() else int(epoch), bool(changed))
