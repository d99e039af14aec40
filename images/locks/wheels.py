"""Resolve a profile's Python requirements to pinned wheels, leaving to the base what the base owns."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from images.locks import pip
from images.progress import Progress
from profiles.errors import WrongInput

Row = dict[str, Any]  # one object of pip's report, whose form PyPA's "Installation Report" gives
SOURCE_ONLY_LIMIT = 8  # requirements that need a source build, before we call it a wrong profile


@dataclass(frozen=True, slots=True)
class Pin:
    """One resolved wheel. size in bytes; sdist: (file name, sha256) of the source it was built from, if it was."""

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    sdist: tuple[str, str] | None = None
    licence: dict[str, Any] | None = None  # as images.checks.licences reads it; None: not read


def resolve(
    requirements: tuple[str, ...],
    target: pip.Target,
    owned: Mapping[str, str],
    indexes: tuple[str, ...],
    wheels: Path,
    progress: Progress,
) -> list[Pin]:
    """The closure of `requirements` as wheels, without the packages in `owned` (name -> version, '' unknown).

    Owned packages of known version take part as stubs, so that the solver never wishes for another torch; those of
    unknown version are dropped from the answer: the image finds the base's copy first (it comes first on sys.path).
    Wheels built from source are kept in `wheels`. Raises WrongInput, OutsideFailed.
    """
    if not requirements:
        return []
    with tempfile.TemporaryDirectory(prefix="stoker-resolve-") as scratch:
        stubs = Path(scratch) / "stubs"
        stubs.mkdir()
        pins = [f"{name}=={version}" for name, version in sorted(owned.items()) if version]
        for pin in pins:
            write_stub(stubs, *pin.split("=="))
        constraints = Path(scratch) / "owned.txt"
        constraints.write_text("\n".join(pins) + "\n")
        built: dict[str, tuple[str, str]] = {}
        for _ in range(SOURCE_ONLY_LIMIT):
            try:
                report = attempt(requirements, target, indexes, [stubs, wheels], constraints, Path(scratch))
                break
            except pip.NoWheel as missing:
                name = canonical_name(missing.name)
                if name in built or name in owned:
                    raise WrongInput(
                        f"nothing on the index satisfies {missing.name} for Python {target.python} on "
                        f"{target.platform}" + (f" with the base's {name} {owned[name]}" if owned.get(name) else ""),
                        "change python.requirements in the profile",
                    ) from None
                built[name] = build_source_only(name, requirements, constraints, wheels, progress)
        else:
            raise WrongInput("too many requirements have no wheel", "use packages with wheels, or a foundation")
    return [pin_of(item, built, wheels) for item in report["install"] if name_of(item) not in owned]


def attempt(
    requirements: tuple[str, ...],
    target: pip.Target,
    indexes: tuple[str, ...],
    links: list[Path],
    constraints: Path,
    scratch: Path,
) -> Row:
    """pip's installation report (PyPA: installation-report) for the target."""
    report = scratch / "report.json"
    base = ["install", "--dry-run", "--ignore-installed", "--report", str(report)]
    base += ["--target", str(scratch / "nowhere"), "-c", str(constraints), *target.flags()]
    for folder in links:
        base += ["--find-links", str(folder)]
    attempts = pip.index_attempts(indexes)
    for number, options in enumerate(attempts):
        try:
            pip.run([*base, *options, *requirements])
            break
        except pip.NoWheel:
            if number == len(attempts) - 1:
                raise
    value: Row = json.loads(report.read_text())
    return value


def build_source_only(
    name: str, requirements: tuple[str, ...], constraints: Path, wheels: Path, progress: Progress
) -> tuple[str, str]:
    """Build `name` into `wheels` as a normalised wheel; returns the source's file name and sha256."""
    from packaging.requirements import Requirement

    wanted = next((r for r in requirements if canonical_name(Requirement(r).name) == name), name)
    with tempfile.TemporaryDirectory(prefix="stoker-wheel-") as folder:
        built = pip.build_wheel(name, wanted, Path(folder), progress)
        normalise(built.wheel, wheels / built.wheel.name)
        return built.sdist, built.sdist_sha256


def normalise(source: Path, target: Path) -> None:
    """Rewrite a wheel so that equal contents give equal bytes: sorted members, fixed times and modes, stored.

    A wheel built on two machines differs in zip times and compressor; its contents do not.
    """
    import zipfile

    scratch = target.with_suffix(".tmp")
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(scratch, "w", zipfile.ZIP_STORED) as new:
        for name in sorted(old.namelist()):
            if name.endswith("/"):
                continue
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            executable = old.getinfo(name).external_attr >> 16 & 0o111
            info.create_system, info.external_attr = 3, (0o100755 if executable else 0o100644) << 16
            new.writestr(info, old.read(name))
    scratch.replace(target)


def write_stub(folder: Path, name: str, version: str) -> None:
    """An empty wheel that tells the solver 'this version is there'."""
    import zipfile

    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{stem}.dist-info/RECORD", "")


def name_of(item: Row) -> str:
    return canonical_name(item["metadata"]["name"])


def canonical_name(name: str) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


def pin_of(item: Row, built: Mapping[str, tuple[str, str]], wheels: Path) -> Pin:
    """One row of pip's report as a pin."""
    from typing import cast

    info = cast("dict[str, Any]", item["download_info"])
    filename = unquote(urlsplit(info["url"]).path.rsplit("/", 1)[-1])
    name = name_of(item)
    local = wheels / filename
    digest = info.get("archive_info", {}).get("hashes", {}).get("sha256")
    if digest is None or local.exists():
        digest = hashlib.sha256(local.read_bytes()).hexdigest()
    size = local.stat().st_size if local.exists() else 0
    return Pin(name, item["metadata"]["version"], filename, digest, size, built.get(name))
