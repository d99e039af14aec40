"""What ssh and the far end's commands say when they fail, and whether another try makes sense."""

from __future__ import annotations

import re

from trainer.stores.store import StoreError

CONNECTION = 255  # ssh(1): "exits with 255 if an error occurred", else with the command's own status
MISSING, NO_HASH, A_FOLDER, WRONG = 44, 45, 46, 47  # exit codes of our scripts
ROOM = "make room there, raise the quota, or keep fewer checkpoints"

# (what is said, transient, next step); the first that is found counts
LOGIN = (
    (r"Permission denied|Too many authentication failures", False, "give this host a key that may log in there"),
    (r"IDENTIFICATION HAS CHANGED|Host key verification failed", False, "check the host, then its line in known_hosts"),
    (
        r"Bad (configuration )?option|command-line|[Uu]nknown option",
        False,
        "check STOKER_SSH_OPTIONS and ~/.ssh/config",
    ),
    (r"no matching|UNPROTECTED PRIVATE KEY", False, "check the keys and algorithms of both hosts"),
)
COMMAND = (
    (r"No space left|[Dd]isk quota|[Qq]uota exceeded|File too large", False, ROOM),
    (r"Read-only file system", False, "mount it writable there"),
    (r"Permission denied|Operation not permitted", False, "let the login write to that folder"),
    (r"not found", False, "the far end needs a POSIX sh with find, dd, mv and rm"),
    (r"Not a directory|Is a directory", False, "a file and a folder have the same name there"),
    (r"Input/output error|Stale|not connected|No such device", True, "is the far end's volume still mounted?"),
)
NOISE = re.compile(r"records (in|out)|bytes? .*copied|bytes transferred|^\s*$")  # what dd tells at its end


def refusal(code: int | None, stderr: bytes, doing: str) -> StoreError:
    """The error for an exit code and what was said on standard error."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if not NOISE.search(line)]
    text, last = "\n".join(lines), (lines[-1] if lines else "")[:200]
    for pattern, transient, hint in LOGIN if code == CONNECTION else COMMAND:
        if found := re.search(f".*(?:{pattern}).*", text):
            return StoreError(f"{doing}: {found[0][:200]}", hint, transient)
    if code == CONNECTION:
        return StoreError(f"{doing}: {last or 'the connection was lost'}", "check the network and the host")
    if code == NO_HASH:
        hint = "install sha256sum, shasum or openssl there"
        return StoreError(f"{doing}: the far end cannot compute SHA-256", hint, transient=False)
    if code == A_FOLDER:
        return StoreError(f"{doing}: there is a folder of that name", "remove it there", transient=False)
    return StoreError(f"{doing}: {last or f'ended with {code}'}", "")
