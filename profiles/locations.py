"""Where profiles and their locks lie."""

from __future__ import annotations

import os
from pathlib import Path

PROFILES = Path(__file__).parent
SHARED = "shared"  # sub-folder of profiles that are only extended, never listed
LOCKS = PROFILES / "locks"


def lock_file(profile: str, folder: Path | None = None) -> Path:
    """The lock file of a profile, by name; it need not exist. folder: over STOKER_LOCKS, over profiles/locks."""
    return (folder or Path(os.environ.get("STOKER_LOCKS") or LOCKS)) / f"{profile}.json"
