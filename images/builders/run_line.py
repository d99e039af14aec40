"""The `docker run` line of a profile: what its options mean to Docker, ready to be copied."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from profiles.schema import Profile


def run_line(profile: Profile, name: str) -> str:
    """`docker run` with the profile's GPUs, ipc, limits, ports and volume (the working folder's `runs`).

    STOKER_IMAGE tells the trainer what it runs in, for its checkpoints' lineage: an image cannot hold its own name.
    """
    words = ["docker", "run", "--rm", "-it", "-e", f"STOKER_IMAGE={name}"]
    if profile.gpu is not None:
        words += ["--gpus", "all"]
    if profile.ipc != "private":
        words.append(f"--ipc={profile.ipc}")
    elif profile.shm_size:
        words.append(f"--shm-size={profile.shm_size}")
    for limit, value in profile.ulimits.model_dump(exclude_none=True).items():
        words.append(f"--ulimit={limit}={value}")
    for port in profile.ports:
        number = port.partition("/")[0]
        words += ["-p", f"127.0.0.1:{number}:{port}"]
    line = " ".join(shlex.quote(word) for word in words)
    volume = f' -v "$PWD/runs:{profile.volume}"' if profile.volume else ""
    return f"{line}{volume} {shlex.quote(name)}"
