"""Whether two images are the same to whoever runs them: one file system, one config, however they were built."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

CONFIG = ("Env", "Entrypoint", "Cmd", "WorkingDir", "User", "ExposedPorts", "Labels", "Healthcheck", "StopSignal")


class Node(NamedTuple):
    """One path of a flattened image. Times are left out: they are no part of what runs."""

    type: str
    mode: int
    uid: int
    gid: int
    size: int
    sha256: str
    link: str


FOLDER = Node("dir", 0o755, 0, 0, 0, "", "")  # what an engine makes for a parent that no layer names


@dataclass(frozen=True)
class Flat:
    """An image as a container sees it."""

    files: Mapping[str, Node]
    config: Mapping[str, Any]


def flatten(layers: Iterable[Path]) -> dict[str, Node]:
    """The file system of layers (tar, or gzip of it), lowest first, with deletions applied (image-spec layer.md)."""
    found: dict[str, Node] = {}
    for layer in layers:
        with layer.open("rb") as raw:
            gzipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            with gzip.open(raw) if gzipped else raw as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
                apply(found, archive)
    return found


def apply(found: dict[str, Node], archive: tarfile.TarFile) -> None:
    """One layer on top of `found`. Deletions concern what lies below, never what the same layer brings."""
    fresh: dict[str, Node] = {}
    for member in archive:
        path = member.name.removeprefix("./").strip("/")
        folder, _, name = path.rpartition("/")
        if name == ".wh..wh..opq":
            remove(found, folder, itself=False)
        elif name.startswith(".wh."):
            remove(found, f"{folder}/{name.removeprefix('.wh.')}".strip("/"), itself=True)
        elif path not in ("", "."):
            fresh[path] = node(archive, member, {**found, **fresh})
    for path, one in fresh.items():
        if path in found and found[path].type == "dir" and one.type != "dir":
            remove(found, path, itself=True)
        parts = path.split("/")
        for depth in range(1, len(parts)):
            found.setdefault("/".join(parts[:depth]), FOLDER)
        found[path] = one


def remove(found: dict[str, Node], path: str, *, itself: bool) -> None:
    for other in [one for one in found if one.startswith(f"{path}/") or (itself and one == path)]:
        del found[other]


def node(archive: tarfile.TarFile, member: tarfile.TarInfo, known: Mapping[str, Node]) -> Node:
    if member.islnk():
        return known[member.linkname.removeprefix("./").strip("/")]
    kinds = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "symlink", tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file"}
    content = archive.extractfile(member) if member.isreg() else None
    sha256 = hashlib.sha256(content.read()).hexdigest() if content else ""
    size = member.size if content else 0
    mode = 0o777 if member.issym() else member.mode & 0o7777
    kind = kinds.get(member.type, str(member.type))
    return Node(kind, mode, member.uid, member.gid, size, sha256, member.linkname if member.issym() else "")


def from_archive(pieces: Iterable[bytes], folder: Path) -> Flat:
    """The image in an archive of `docker save`, of engines before and after 25.0. folder: scratch space."""
    whole = folder / "image.tar"
    with whole.open("wb") as out:
        out.writelines(pieces)
    with tarfile.open(whole) as archive:
        archive.extractall(folder / "image", filter="data")
    image = json.loads((folder / "image" / "manifest.json").read_text())[0]
    layers = [folder / "image" / name for name in image["Layers"]]
    return Flat(flatten(layers), json.loads((folder / "image" / image["Config"]).read_text())["config"])


def config_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that decide how a container runs; null, empty and missing mean the same."""
    return {key: config.get(key) or None for key in CONFIG}


def differences(a: Flat, b: Flat) -> list[str]:
    """One line per path or config key that differs."""
    lines = [
        f"{path}: {a.files.get(path)} != {b.files.get(path)}"
        for path in sorted({*a.files, *b.files})
        if a.files.get(path) != b.files.get(path)
    ]
    one, other = config_of(a.config), config_of(b.config)
    return lines + [f"{key}: {one[key]} != {other[key]}" for key in CONFIG if one[key] != other[key]]


def same_image(a: Flat, b: Flat) -> None:
    """Fails with what differs."""
    found = differences(a, b)
    assert not found, "\n".join(found[:50])
