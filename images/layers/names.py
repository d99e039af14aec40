"""Which paths may enter a layer at all. Everything that names a file inside the image passes through here."""

from __future__ import annotations

import posixpath
import unicodedata

from profiles.errors import WrongInput

# An entry `bin/x` over Ubuntu's symlink /bin -> usr/bin can replace the link by a folder and kill the image.
BASE_LINKS = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32"})
# Hidden at run time: RunPod mounts its volume at /workspace, engines mount the other three.
MOUNTED = frozenset({"workspace", "proc", "sys", "dev"})
LONGEST = 4096  # PATH_MAX of Linux


def checked(path: str) -> str:
    """`path` if it may be an entry of a layer: relative, plain UTF-8, without traps. Raises WrongInput."""
    if reason := fault(path):
        raise WrongInput(f"{printable(path)} cannot enter a layer: {reason}", "rename the file or leave it out")
    return path


def fault(path: str) -> str | None:
    """Why `path` cannot be an entry (image-spec layer.md and registry facts, section 5), or None."""
    try:
        length = len(path.encode())
    except UnicodeEncodeError:  # surrogates: bytes that are not UTF-8, as os.fsdecode hands them on
        return "the name is not valid UTF-8"
    if not path or length > LONGEST:
        return "the name is empty" if not path else f"the name is longer than {LONGEST} bytes"
    if path.startswith("/"):
        return "the path is absolute"
    if "\\" in path or any(unicodedata.category(c) == "Cc" for c in path):
        return "the name has a backslash or a control character"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "the path has an empty, '.' or '..' part"
    if any(len(part.encode()) > 255 for part in parts):
        return "a part of the path is longer than 255 bytes"
    return reserved(parts)


def reserved(parts: list[str]) -> str | None:
    """Why these path parts mean something else than a plain file, or None."""
    if any(part.startswith(".wh.") for part in parts):
        return "names that begin with .wh. mean deletion in a layer"
    if parts[0] in MOUNTED:
        return f"/{parts[0]} is hidden by a mount when the container runs"
    if parts[0] in BASE_LINKS:
        return f"/{parts[0]} is a symbolic link in Debian and Ubuntu bases; use usr/{parts[0]}"
    return None


def checked_link(path: str, text: str) -> str:
    """The text of symbolic link `path` if it can be kept as it is. Raises WrongInput."""
    reason = None
    if not text or "\0" in text or any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        reason = "its target is empty or not plain UTF-8"
    elif not text.startswith("/") and leaves(posixpath.dirname(path), text):
        reason = f"its target {printable(text)} leaves the root"
    if reason:
        raise WrongInput(f"symbolic link {printable(path)}: {reason}", "point it inside, or leave it out")
    return text


def leaves(folder: str, text: str) -> bool:
    """Whether relative path `text`, seen from `folder`, climbs above the root of `folder`."""
    depth = len([part for part in folder.split("/") if part])
    for part in text.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            return True
    return False


def printable(path: str) -> str:
    """`path` for a message: quoted, control characters escaped, shortened."""
    return repr(path if len(path) <= 200 else path[:200] + "...")
