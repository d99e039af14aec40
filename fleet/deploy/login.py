"""Whether anybody can log in on a bare machine: there Stoker itself starts the container, over SSH, and without a key
a rented one bills for nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from fleet.providers.hosts.pins import KEY
from fleet.providers.provider import Provider
from profiles.errors import WrongInput

BARE = ("hyperbolic",)  # its rentals are virtual machines that no image can be named for (providers.md 3.8)
DEFAULTS = (
    "id_rsa",
    "id_ecdsa",
    "id_ecdsa_sk",
    "id_ed25519",
    "id_ed25519_sk",
)  # that ssh tries by itself: ssh_config(5)
STEP = "ssh-keygen -t ed25519, and paste ~/.ssh/id_ed25519.pub into the settings of {}; or STOKER_SSH_KEY=PATH"


def enterable(
    providers: Mapping[str, Provider], environ: Mapping[str, str], home: Path
) -> tuple[dict[str, Provider], list[str]]:
    """The providers whose machines can be used from here, and a line about each of the others.

    Raises WrongInput when none is left, and for a STOKER_SSH_KEY that is no file.
    """
    bare = [name for name in providers if name in BARE]
    if not bare or has_key(environ, home):
        return dict(providers), []
    left = {name: one for name, one in providers.items() if name not in bare}
    what = "{}: its machines are set up over SSH, and there is no private SSH key here"
    if not left:
        raise WrongInput(f"{what.format(bare[0])}; nothing was ordered", STEP.format(bare[0]))
    return left, [f"{what.format(name)}: left out; {STEP.format(name)}" for name in bare]


def has_key(environ: Mapping[str, str], home: Path) -> bool:
    """Whether `ssh` has a key to offer: the named one, a default one, or an agent's. Raises WrongInput for a
    STOKER_SSH_KEY that is no file."""
    if named := environ.get(KEY, "").strip():
        path = Path(named).expanduser()
        if not path.is_file():
            raise WrongInput(f"{KEY} names no file", f"set {KEY} to the path of a private key, or unset it")
        return True
    return any((home / ".ssh" / name).is_file() for name in DEFAULTS) or agent_holds(environ)


def agent_holds(environ: Mapping[str, str]) -> bool:
    """Whether an agent has a key. One that cannot be asked counts as having one: `ssh` may still reach it."""
    from images.system import find

    if not environ.get("SSH_AUTH_SOCK", "").strip():
        return False
    program = find("ssh-add")
    if program is None:
        return True
    passed = {name: environ[name] for name in ("PATH", "HOME", "SSH_AUTH_SOCK") if name in environ}
    try:
        done = subprocess.run([program, "-l"], env=passed, capture_output=True, timeout=5, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return done.returncode == 0  # 1: it has none; 2: there is no agent
