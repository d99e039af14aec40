"""A person's shell on a rented machine: the `ssh` program, with the host key that was pinned at first use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fleet.providers.hosts.pins import KEY, options, pin
from fleet.providers.values import Ssh
from profiles.errors import OutsideFailed

# What reaches `ssh` of our environment: not the providers' keys. A shell needs to know its terminal.
PASSED = ("PATH", "HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK", "SSH_ASKPASS", "DISPLAY", "LANG", "TERM", "TMPDIR")


def command(place: Ssh, state: Path, provider: str, id: str, words: str = "", key: str = "") -> list[str]:
    """The line to start. state: the `.stoker` folder; words: a command for the machine, "" for a shell; key: path of a
    private key, "" for the agent's and ssh's own.

    Raises OutsideFailed without the program.
    """
    from images.system import find

    program = find("ssh")
    if program is None:
        raise OutsideFailed("there is no `ssh` program here", "install it: apt-get install openssh-client")
    pinned = pin(state, provider, id)
    pinned.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Of an option that is given twice ssh takes the first: a person can be asked for a passphrase.
    line = [program, "-oBatchMode=no", *options(pinned, key), "-p", str(place.port), "-l", place.user]
    return [*line, *([] if words else ["-t"]), "--", place.host, *([words] if words else [])]


def environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the program is given."""
    return {name: environ[name] for name in PASSED if name in environ}


def own_key(environ: Mapping[str, str] = os.environ) -> str:
    """The private key that the user names, "" for none."""
    return environ.get(KEY, "")
