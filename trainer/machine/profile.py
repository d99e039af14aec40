"""The baked profile: /opt/stoker/profile.json, what this image was built for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from trainer.errors import TrainerError

HOME = "/opt/stoker"


def home() -> Path:
    """The folder all of ours is baked under; STOKER_HOME_DIR moves it, for tests."""
    return Path(os.environ.get("STOKER_HOME_DIR", HOME))


def read(path: str | None) -> dict[str, Any]:
    """The profile, {} when there is none and none was asked for. Raises TrainerError when it cannot be read."""
    file = Path(path) if path else home() / "profile.json"
    if not path and not file.exists():
        return {}
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainerError(f"cannot read the profile {file}: {error}", "the image is broken: build it again") from None
    return content
