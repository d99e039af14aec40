"""Host keys, pinned at first use: one file per rental, so that an address that is given to the next customer's machine
neither inherits our trust nor raises an alarm."""

from __future__ import annotations

from pathlib import Path

from profiles.errors import WrongInput

FOLDER = "host-keys"
KEY = "STOKER_SSH_KEY"  # path of a private key; without it the agent's and ssh's own default ones are tried


def pin(state: Path, provider: str, rental: str) -> Path:
    """The file that holds a rental's host key. state: the `.stoker` folder."""
    if not rental or not all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in rental):
        raise WrongInput(f"{provider}: no rental's id: {rental!r}", "ids stand in `./inv status`")
    return state / FOLDER / f"{provider}-{rental}"


def forget(pinned: Path) -> None:
    """After the rental's end."""
    for path in (pinned, pinned.with_name(pinned.name + ".old")):
        path.unlink(missing_ok=True)


def options(pinned: Path, key: str = "") -> list[str]:
    """What `ssh` is told for any connection to a rented machine, also by hand. key: path of a private key, or "".

    No file of the user's is read (`-F none`): a ForwardAgent or SendEnv of theirs would lend keys or secrets to a
    stranger's machine. Once pinned, the key is asked for strictly: with accept-new alone, a machine in the middle
    could offer a key of another type and be taken for new.
    """
    known = pinned.is_file() and pinned.stat().st_size > 0
    quoted = str(pinned).replace("%", "%%")
    told = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes" if known else "accept-new",
        "UserKnownHostsFile": f'"{quoted}"',
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": pinned.name,
        "UpdateHostKeys": "no",
        "CheckHostIP": "no",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "10",
        "ServerAliveCountMax": "3",
        "ForwardAgent": "no",
        "ClearAllForwardings": "yes",
        "PreferredAuthentications": "publickey",
        "ControlPath": "none",
        "LogLevel": "ERROR",
    }
    identity = ["-i", key, "-oIdentitiesOnly=yes"] if key else []
    return ["-F", "none", *identity, *(f"-o{name}={value}" for name, value in told.items())]
