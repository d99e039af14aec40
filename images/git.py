"""git, asked about the checkout and nothing else: no hooks, no pager, no other repository than the one we stand in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# Set inside git hooks; they would make git look at another repository than the checkout's.
PLACES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
# A checkout of another owner (a container, CI) is "dubious" to git; whoever runs its tasks has decided to trust it.
SETTINGS = ("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")


def output(folder: Path, *arguments: str) -> bytes | None:
    """What git prints when run in `folder`; None where git, the folder or a repository is missing."""
    env = {key: value for key, value in os.environ.items() if key not in PLACES}
    env |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(["git", *SETTINGS, *arguments], cwd=folder, env=env, capture_output=True)
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
