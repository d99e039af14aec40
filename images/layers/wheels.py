"""Wheels as layer entries: laid out as an installer would, without running anything and without unpacking to disk.

packaging.python.org "Binary distribution format" (PEP 427) and "Recording installed projects" (PEP 376, 627). All
goes below one folder that a .pth file adds to the interpreter's path, so purelib and platlib are the same place.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO

from images.layers import names, record
from images.layers.scripts import entry_points, own_shebang
from images.layers.tar import PIECE, Entry
from images.oci import digest as digests
from images.plan import SITE, Wheel
from profiles.errors import CheckFailed, WrongInput

DAMAGED = (
    "a file does not match the wheel's own RECORD",
    "delete the wheel and fetch it again, or lock another version",
)
SIGNATURES = ("RECORD", "RECORD.jws", "RECORD.p7s")  # never listed with a hash; worthless once RECORD is rewritten
NOT_OURS = ("INSTALLER", "REQUESTED", "direct_url.json")  # what an installer writes, not what a wheel brings
SCHEMES = {"purelib": "", "platlib": "", "data": "", "scripts": "bin/"}


def wheel_entries(path: Path, wheel: Wheel | None = None, site: str = SITE) -> list[Entry]:
    """The files of the wheel at `path` under `site`, read from the zip only when the layer is written.

    wheel: what the lock says; the file's sha256 is checked against it first. Byte code is left out; scripts start
    with `/usr/bin/env python3`; console scripts, INSTALLER and a coherent RECORD are written. Raises CheckFailed when
    the file or a member is not what was recorded, WrongInput when it is not a wheel we can lay out safely.
    """
    if wheel is not None:
        verify(path, wheel)
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise WrongInput(f"{path.name} is not a readable wheel: {error}", "delete it and fetch it again") from None
    unpacked = Unpacking(archive, path.name, site)
    return unpacked.entries()


def merge_wheels(wheels: Iterable[Iterable[Entry]]) -> list[Entry]:
    """The entries of several wheels as one layer's.

    The same file with the same content in two wheels is kept once (namespace packages do that). Raises WrongInput
    naming both wheels when the contents differ: which one won would depend on the order.
    """
    found: dict[str, Entry] = {}
    for entry in (entry for wheel in wheels for entry in wheel):
        other = found.setdefault(entry.path, entry)
        if (other.sha256, other.size, other.mode) != (entry.sha256, entry.size, entry.mode):
            first, second = other.source.partition("!")[0], entry.source.partition("!")[0]
            raise WrongInput(
                f"{first} and {second} both bring {names.printable(entry.path)}, with different content",
                "drop one of the two requirements from the profile",
            )
    return list(found.values())


def verify(path: Path, wheel: Wheel) -> None:
    """Raises CheckFailed when the file is not the wheel that was locked, WrongInput when there is none.

    Such a file is of no use to anyone and would be in the way of a good one, so it is removed.
    """
    try:
        with path.open("rb") as handle:
            found, _ = digests.of_stream(handle)
    except FileNotFoundError:
        raise WrongInput(
            f"the wheel {wheel.filename} is not at {path}", "fetch it again: run the same command"
        ) from None
    if found != "sha256:" + wheel.sha256:
        path.unlink(missing_ok=True)
        raise CheckFailed(
            f"{wheel.filename} was {found[:19]}..., the lock says sha256:{wheel.sha256[:12]}...; it has been removed",
            "run the same command to fetch it again; if it stays so, somebody replaced it: do not install it",
        )


@dataclass
class Unpacking:
    """One wheel being laid out. rows: of the new RECORD, path below site -> (hash, size)."""

    archive: zipfile.ZipFile
    name: str
    site: str
    rows: dict[str, tuple[str, int]] = field(default_factory=dict)

    def entries(self) -> list[Entry]:
        members = self.members()
        info = self.info_folder(members)
        listed = record.read(self.small(members.get(f"{info}/RECORD"), "RECORD"), self.name)
        self.check_version(self.small(members.get(f"{info}/WHEEL"), "WHEEL"))
        found = [
            self.entry(member, inside, listed)
            for path, member in members.items()
            if (inside := self.place(path, info)) is not None
        ]
        points = members.get(f"{info}/entry_points.txt")
        for script, text in entry_points(self.small(points, "") if points else "", self.name).items():
            found = [entry for entry in found if entry.path != f"{self.site}/bin/{script}"]
            found.append(self.generated(f"bin/{script}", text.encode(), 0o755))
        found.append(self.generated(f"{info}/INSTALLER", b"stoker\n"))
        self.rows |= {entry.path[len(self.site) + 1 :]: (entry.sha256, entry.size) for entry in found}
        found.append(self.generated(f"{info}/RECORD", record.written(self.rows, f"{info}/RECORD")))
        return found

    def members(self) -> dict[str, zipfile.ZipInfo]:
        """Every file of the zip by its checked name. Raises WrongInput for names or kinds that are a trap."""
        found: dict[str, zipfile.ZipInfo] = {}
        for member in self.archive.infolist():
            name = member.orig_filename  # before zipfile cuts at a NUL
            if reason := trap(member, name, found):
                raise WrongInput(f"{self.name} has an unsafe member {names.printable(name)}: {reason}", "do not use it")
            if not member.is_dir():
                found[name] = member
        return found

    def info_folder(self, members: Iterable[str]) -> str:
        found = sorted({path.partition("/")[0] for path in members if ".dist-info/" in path})
        infos = [name for name in found if name.endswith(".dist-info")]
        if len(infos) != 1:
            raise WrongInput(f"{self.name} has {len(infos)} .dist-info folders instead of one", "it is not a wheel")
        return infos[0]

    def place(self, path: str, info: str) -> str | None:
        """Where a member lands below the site folder, or None for what is not laid out."""
        if path.endswith((".pyc", ".pyo")) or "/__pycache__/" in path:
            return None
        if path.startswith(info + "/"):
            return None if path.removeprefix(info + "/") in SIGNATURES + NOT_OURS else path
        stem = info.removesuffix(".dist-info")
        if not path.startswith(stem + ".data/"):
            return path
        scheme, _, rest = path.removeprefix(stem + ".data/").partition("/")
        if scheme == "headers" and rest:
            return f"include/{stem.partition('-')[0]}/{rest}"
        if scheme not in SCHEMES or not rest:
            raise WrongInput(f"{self.name} has the unknown data scheme {names.printable(scheme)}", "it is not a wheel")
        return SCHEMES[scheme] + rest

    def entry(self, member: zipfile.ZipInfo, inside: str, listed: dict[str, record.Row]) -> Entry:
        """One member, with a hash: the one RECORD gives, or one computed here."""
        name, path = member.orig_filename, names.checked(f"{self.site}/{inside}")
        known = listed.get(name)
        if inside.startswith("bin/") and ".data/scripts/" in name and member.file_size < PIECE:
            data = self.archive.read(member)
            record.verify(known, data, f"{self.name}!{name}")
            return self.generated(inside, own_shebang(data), 0o755)
        mode = 0o755 if inside.startswith("bin/") or (member.external_attr >> 16) & 0o111 else 0o644
        content = partial(self.archive.open, member)
        made = Entry(path, "file", mode, member.file_size, content, source=f"{self.name}!{name}", fault=DAMAGED)
        if known is not None and known.algorithm == "sha256" and known.size in (None, member.file_size):
            return replace(made, sha256=known.hex)
        return replace(made, sha256=self.hashed(member, known))

    def hashed(self, member: zipfile.ZipInfo, known: record.Row | None) -> str:
        """sha256 of a member RECORD does not list, or lists with another algorithm, which is checked on the way."""
        state, other = hashlib.sha256(), hashlib.new(known.algorithm) if known else None
        with self.archive.open(member) as reader:
            while piece := reader.read(PIECE):
                state.update(piece)
                if other is not None:
                    other.update(piece)
        if (
            known is not None
            and other is not None
            and (other.hexdigest() != known.hex or known.size not in (None, member.file_size))
        ):
            raise CheckFailed(f"{DAMAGED[0]}: {self.name}!{member.orig_filename}", DAMAGED[1])
        return state.hexdigest()

    def generated(self, inside: str, data: bytes, mode: int = 0o644) -> Entry:
        def content() -> IO[bytes]:
            return io.BytesIO(data)

        path = names.checked(f"{self.site}/{inside}")
        sha256 = hashlib.sha256(data).hexdigest()
        return Entry(path, "file", mode, len(data), content, sha256=sha256, source=f"{self.name}!{inside}")

    def small(self, member: zipfile.ZipInfo | None, what: str) -> str:
        """A text member. Raises WrongInput when it is absent, huge or not UTF-8."""
        if member is None or member.file_size > 64 << 20:
            raise WrongInput(f"{self.name} has no usable {what}", "it is not a wheel; delete it and fetch it again")
        try:
            return self.archive.read(member).decode()
        except (UnicodeDecodeError, zipfile.BadZipFile):
            raise WrongInput(f"{self.name} has a damaged {what or 'entry_points.txt'}", "fetch it again") from None

    def check_version(self, text: str) -> None:
        """PEP 427: an installer must stop when the major version is greater than it knows."""
        lines = dict(line.partition(":")[::2] for line in text.splitlines())
        version = lines.get("Wheel-Version", "").strip()
        if version.partition(".")[0] != "1":
            raise WrongInput(
                f"{self.name} has wheel format {version or 'unknown'}, we know 1.x", "lock another version"
            )


def trap(member: zipfile.ZipInfo, name: str, seen: dict[str, zipfile.ZipInfo]) -> str | None:
    """Why a zip member may not be laid out, or None."""
    kind = (member.external_attr >> 16) & 0o170000
    if kind == 0o120000:
        return "it is a symbolic link"
    if member.flag_bits & 1:
        return "it is encrypted"
    if name in seen:
        return "it is there twice"
    return names.fault("x/" + name.rstrip("/"))
