"""What our layers hold: every byte read once, for digests, names and secrets together."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO

from images.checks.subject import Own, Subject, in_site
from images.layers import names, secrets
from images.plan import HOME
from images.progress import Meter
from profiles.errors import StokerError

BAKED = f"{HOME}/profile.json"  # the profile as the trainer sees it
SMALL = 1 << 20


@dataclass
class Found:
    """Faults by check; executables: paths of ours that can be run; volume: as the baked profile has it."""

    blobs: list[str] = field(default_factory=list)
    diff_ids: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    executables: set[str] = field(default_factory=set)
    files: int = 0
    volume: str = ""


def read_layer(subject: Subject, own: Own, found: Found, meter: Meter) -> None:
    """One layer of ours from the registry: the digest of the blob, of the tar inside, and what is in it."""

    def look(member: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        found.files += not member.isdir()
        found.paths += [f"{own.name}: {fault}" for fault in path_faults(member, own.written)]
        if member.isreg() and member.mode & 0o111:
            found.executables.add(member.name)
        found.secrets += entry_secrets(own, member, content, found)

    try:
        diff_id = subject.read(own.descriptor, meter).visit(look)
    except StokerError as failed:
        found.blobs.append(f"{own.name} {own.descriptor.digest[:19]}: {failed.what}")
        return
    if diff_id != own.diff_id:
        found.diff_ids.append(f"{own.name} unpacks to {diff_id[:19]}, the config says {own.diff_id[:19] or 'nothing'}")


def entry_secrets(own: Own, member: tarfile.TarInfo, content: IO[bytes] | None, found: Found) -> list[str]:
    """What looks like a secret in one entry. Wheels are pinned by hash, so only their names are looked at."""
    pinned = own.pinned or in_site(member.name) is not None
    if content is None or pinned:
        hits = secrets.scan_name(member.name)
    elif member.name == BAKED and member.size <= SMALL:
        data = content.read()
        found.volume = baked_volume(data)
        hits = secrets.scan_text(member.name, data.decode("utf-8", "surrogateescape"))
    else:
        hits = secrets.scan_file(member.name, content)
    return [f"{own.name}: {hit}" for hit in hits]


def baked_volume(data: bytes) -> str:
    try:
        value = json.loads(data)
        return str(value.get("volume") or "")
    except (ValueError, AttributeError):
        return ""


def path_faults(member: tarfile.TarInfo, written: bool) -> Iterator[str]:
    """Why an entry should not be in a layer of ours. written: by our own writer; apt and BuildKit make more kinds."""
    path = member.name.removeprefix("./").rstrip("/")
    if not path or path == ".":
        return
    first = path.partition("/")[0]
    if written:
        if reason := names.fault(path):
            yield f"{names.printable(path)}: {reason}"
        if not (member.isreg() or member.isdir() or member.issym()):
            yield f"{names.printable(path)} is a device, FIFO or hard link"
        if member.mode & 0o7000 or member.uid or member.gid:
            yield f"{names.printable(path)} has an owner or mode that we never write"
    elif first in names.BASE_LINKS and (member.isdir() or "/" in path):
        yield f"{names.printable(path)} replaces the base's symbolic link /{first}"
    elif first == "workspace":
        yield f"{names.printable(path)} is hidden by the volume"


def lacking(subject: Subject, found: Found) -> list[str]:
    """Programs of ours that the config starts and no layer of ours has."""
    started: Iterable[str] = [
        *(subject.settings.get("Entrypoint") or [])[:1],
        *(subject.settings.get("Cmd") or [])[:1],
    ]
    if subject.own is None:
        return []
    return [
        f"{path} is started but not there as a program"
        for path in started
        if path.startswith(f"/{HOME}/") and path.lstrip("/") not in found.executables
    ]


def told_secrets(subject: Subject) -> list[str]:
    """What looks like a secret in the environment, a label, an annotation, a command or the history."""
    settings = subject.settings
    annotations = subject.manifest.json.get("annotations") or {}
    hits = secrets.scan_env(subject.env.items())
    hits += secrets.scan_env(subject.labels.items(), "label")
    hits += secrets.scan_env(annotations.items(), "annotation")
    for name in ("Entrypoint", "Cmd"):
        hits += secrets.scan_text(name, " ".join(settings.get(name) or []))
    for number, item in enumerate(subject.config.get("history") or []):
        words = f"{item.get('created_by', '')}\n{item.get('comment', '')}"
        hits += secrets.scan_text(f"history entry {number}", words)
    return list(dict.fromkeys(str(hit) for hit in hits))
