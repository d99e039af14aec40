"""The files of our layers, and how two sets of them differ."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import IO, Any

from images.checks.report import Change, Size
from images.checks.subject import Subject, in_site
from images.progress import size
from profiles.errors import StokerError

LIMIT = 256_000_000  # bytes of a layer that is fetched to be compared; local ones are read whatever they weigh
PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class File:
    """size in bytes; mark: what makes two files equal, content and executable bit, or the text of a link."""

    size: int
    mark: str


def of_plan(plan: Mapping[str, Any]) -> dict[str, File]:
    """The files a plan lists one by one: all of ours but those inside wheels."""
    return {
        one["target"]: File(one["size"], f"{one['sha256']} {bool(one['mode'] & 0o100)} {one['link']}")
        for layer in plan["layers"]
        for one in layer["files"]
    }


def of_layers(subject: Subject, without: Collection[str], notes: list[str]) -> dict[str, File]:
    """The files of our layers, but for the layers in `without`. What could not be read is said in `notes`."""
    found: dict[str, File] = {}
    if subject.own is None:
        notes.append(f"{subject.name}: it does not say which layers are ours; no files are compared")
        return found

    def look(member: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        if not member.isdir():
            mark = digest(content) if content is not None else member.linkname
            found[member.name] = File(member.size, f"{mark} {bool(member.mode & 0o100)}")

    for own in subject.own:
        layer = own.descriptor
        if layer.digest in without:
            continue
        if subject.repository is not None and layer.size > LIMIT:
            notes.append(f"{subject.name}: layer {own.name} ({size(layer.size)}) was not fetched to compare its files")
            continue
        try:
            subject.read(layer).visit(look)
        except StokerError as failed:
            notes.append(f"{subject.name}: layer {own.name} could not be read: {failed.what}")
    return found


def digest(content: IO[bytes]) -> str:
    state = hashlib.sha256()
    while piece := content.read(PIECE):
        state.update(piece)
    return state.hexdigest()


def changes(before: Mapping[str, File], after: Mapping[str, File]) -> dict[str, Any]:
    """Added, removed and changed files by path; those of a Python package together, in one line per package."""
    added, removed, changed = {}, {}, {}
    packages: dict[str, list[int]] = {}  # name -> added, removed, changed, bytes
    for path in sorted({*before, *after}):
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        grown = (new.size if new else 0) - (old.size if old else 0)
        if package := in_site(path):
            row = packages.setdefault(package, [0, 0, 0, 0])
            row[0 if old is None else 1 if new is None else 2] += 1
            row[3] += grown
        elif old is None and new is not None:
            added[path] = Size(new.size)
        elif new is None and old is not None:
            removed[path] = Size(old.size)
        else:
            changed[path] = Change(grown)
    found: dict[str, Any] = {"added": added, "removed": removed, "changed": changed}
    found["python"] = {
        name: f"{row[0]} added, {row[1]} removed, {row[2]} changed, {Change(row[3])}" for name, row in packages.items()
    }
    return {name: value for name, value in found.items() if value}
