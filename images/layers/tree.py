"""Files of the checkout as inputs of a layer: what git would take, and nothing of this machine.

Only content, path, executable bit and link text are read; owner, times, umask, locale and the place of the checkout
never reach the plan. Paths are handled as UTF-8 bytes, because Python's own decoding follows the locale.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator
from pathlib import Path

from images import git
from images.layers import names
from images.layers.tar import PIECE
from images.plan import Input
from profiles.errors import WrongInput


def tree(root: Path, folder: str, target: str) -> tuple[Input, ...]:
    """Every file and symbolic link of `folder` (relative to the checkout `root`) as inputs below `target`.

    In a git checkout: what is tracked, and what is neither tracked nor ignored. Elsewhere: all but byte code and
    names that begin with a dot. Raises WrongInput for a missing folder, a link that leaves the folder, a socket, FIFO
    or device, a nested repository, and names that cannot be in a layer.
    """
    base = at(root, folder)
    if not base.is_dir():
        raise WrongInput(f"no folder {names.printable(folder)} in {root}", "check the path")
    listed = from_git(root, folder)
    if listed is None:
        listed = [os.fsencode(path.relative_to(base)) for path in walked(base)]
    found = (read(root, folder, decoded(path), target) for path in sorted(set(listed)) if not byte_code(path))
    return tuple(one for one in found if one is not None)


def at(root: Path, path: str) -> Path:
    """The place of a checkout path: its UTF-8 bytes on disk, whatever encoding the locale makes Python use."""
    return root / os.fsdecode(path.encode())


def byte_code(path: bytes) -> bool:
    return path.endswith((b".pyc", b".pyo")) or b"__pycache__" in path.split(b"/")


def decoded(path: bytes) -> str:
    """Raises WrongInput: an image holds UTF-8 names only."""
    try:
        return path.decode()
    except UnicodeDecodeError:
        raise WrongInput(f"the name {path!r} is not valid UTF-8", "rename the file or leave it out") from None


def from_git(root: Path, folder: str) -> list[bytes] | None:
    """Paths below `folder` as git sees them, or None where git has nothing to say (no git, no checkout, ignored)."""
    listed = git.output(at(root, folder), "ls-files", "-z", "-co", "--exclude-standard", "--", ".")
    return None if listed is None else [path for path in listed.split(b"\0") if path] or None


def walked(folder: Path) -> Iterator[Path]:
    """Paths below `folder` without dot-names, symbolic links not followed."""
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from walked(path)
        else:
            yield path


def read(root: Path, folder: str, path: str, target: str) -> Input | None:
    """One file or link, hashed. None when it is tracked but deleted."""
    source = posixpath.join(folder, path)
    place = at(root, source)
    inside = names.checked(posixpath.join(target, path))
    try:
        mode = place.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(mode):
        return link(root, folder, source, inside)
    if not stat.S_ISREG(mode):
        kind = "a nested repository" if stat.S_ISDIR(mode) else "not a plain file (socket, FIFO or device)"
        raise WrongInput(f"{names.printable(source)} is {kind}", "move it out of the folder or add it to .gitignore")
    sha256, size = hashed(place)
    return Input(source, inside, sha256, size, 0o755 if mode & stat.S_IXUSR else 0o644)


def link(root: Path, folder: str, source: str, inside: str) -> Input:
    """A symbolic link, kept as it is. Raises WrongInput when it points out of `folder`, where the image has nothing."""
    place = at(root, source)
    text = decoded(os.fsencode(os.readlink(place)))  # noqa: PTH115 - Path drops './' and a closing slash
    below = posixpath.dirname(posixpath.relpath(source, folder))
    inner = Path(os.path.realpath(place)).is_relative_to(os.path.realpath(at(root, folder)))
    if text.startswith("/") or names.leaves(below, text) or not inner:
        where = names.printable(folder)
        raise WrongInput(
            f"symbolic link {names.printable(source)} points out of {where}, to {names.printable(text)}",
            "copy the file into the folder, or remove the link",
        )
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return Input(source, inside, sha256, 0, 0o644, names.checked_link(inside, text))


def hashed(place: Path) -> tuple[str, int]:
    """sha256 (hex) and length of a file, read in pieces."""
    state, size = hashlib.sha256(), 0
    with place.open("rb") as handle:
        while piece := handle.read(PIECE):
            state.update(piece)
            size += len(piece)
    return state.hexdigest(), size
