"""Where a checkpoint comes from: its parent, the image, the code, the data, the machine."""

from __future__ import annotations

import functools
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import torch

from trainer import __version__
from trainer.machine import profile as baked
from trainer.parallel.world import World

TAG = re.compile(r"-g(?P<commit>[0-9a-f]{7,40})(-dirty)?-(?P<plan>[0-9a-f]{8,64})(@|\Z)")


def lineage(data: str, world: World, parent: dict[str, Any] | None) -> dict[str, Any]:
    """JSON for the manifest. data: the source's identity; parent: name and manifest hash of the checkpoint before.

    image is what STOKER_IMAGE says, an image cannot hold its own name; its tag tells the commit and the plan's hash:
    `<profile>-<version>-g<commit>-<plan>`. Outside an image the commit is the checkout's.
    """
    return {"parent": parent, "data": data, "hardware": hardware(world), **_code()}


def hardware(world: World) -> dict[str, Any]:
    """What it is trained on."""
    device = world.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {"device": name, "ranks": world.size, "ranks_per_host": world.local_size}


@functools.cache
def _code() -> dict[str, Any]:
    profile = baked.read(None)
    image = os.environ.get("STOKER_IMAGE")
    tag = TAG.search(image or "")
    return {
        "image": image,
        "plan": tag["plan"] if tag else None,
        "profile": profile.get("profile"),
        "commit": tag["commit"] if tag else _commit(),
        "versions": {
            "trainer": profile.get("version") or __version__,
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "python": platform.python_version(),
        },
    }


def _commit() -> str | None:
    """Of the checkout the trainer runs from; None where it is none, as in an image."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
