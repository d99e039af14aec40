"""Bring the locked wheels to this machine: by name, version and sha256, nothing else is accepted."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from images.locks import pip
from images.locks.wheels import Pin, normalise
from images.progress import Progress
from profiles.errors import CheckFailed, OutsideFailed


def fetch(
    pins: Sequence[Pin], target: pip.Target, indexes: tuple[str, ...], wheels: Path, progress: Progress
) -> dict[str, Path]:
    """filename -> path of every pin, downloading what `wheels` does not hold yet.

    Files are named by their sha256 folder, so two locks never mix. Raises OutsideFailed when an index no longer has
    a file, CheckFailed when what it has is another file.
    """
    found = {pin.filename: place(wheels, pin) for pin in pins}
    missing = [pin for pin in pins if not found[pin.filename].exists()]
    if not missing:
        return found
    progress.say(f"fetching {len(missing)} wheels: " + ", ".join(f"{p.name} {p.version}" for p in missing[:6]))
    with tempfile.TemporaryDirectory(dir=wheels, prefix="fetch-") as folder:
        if published := [pin for pin in missing if not pin.sdist]:
            download(published, target, indexes, Path(folder))
        for pin in missing:
            if pin.sdist:
                rebuild(pin, Path(folder), progress)
            adopt(pin, Path(folder) / pin.filename, found[pin.filename])
    return found


def place(wheels: Path, pin: Pin) -> Path:
    """Where a wheel is kept."""
    return wheels / pin.sha256[:16] / pin.filename


def download(pins: list[Pin], target: pip.Target, indexes: tuple[str, ...], folder: Path) -> None:
    """pip download with hashes required, from the machine's own indexes first."""
    listed = folder / "requirements.txt"
    listed.write_text("".join(f"{p.name}=={p.version} --hash=sha256:{p.sha256}\n" for p in pins))
    base = ["download", "--quiet", "--no-deps", "--require-hashes", "-r", str(listed), "--dest", str(folder)]
    attempts = pip.index_attempts(indexes)
    for number, options in enumerate(attempts):
        try:
            pip.run([*base, *target.flags(), *options])
            return
        except (pip.NoWheel, OutsideFailed) as failed:
            if number < len(attempts) - 1:
                continue
            if isinstance(failed, pip.NoWheel):
                raise OutsideFailed(
                    f"no index has the locked wheel of {failed.name}",
                    "check the network, or lock again: ./inv lock --profile ...",
                ) from None
            raise


def rebuild(pin: Pin, folder: Path, progress: Progress) -> None:
    """Build a source-only package again and give its wheel the same bytes as at lock time."""
    with tempfile.TemporaryDirectory(prefix="stoker-wheel-") as scratch:
        built = pip.build_wheel(pin.name, f"{pin.name}=={pin.version}", Path(scratch), progress)
        if pin.sdist and built.sdist_sha256 != pin.sdist[1]:
            raise CheckFailed(f"{built.sdist} is not the locked source (its sha256 differs)", "lock the profile again")
        normalise(built.wheel, folder / pin.filename)


def adopt(pin: Pin, fetched: Path, kept: Path) -> None:
    """Move a fetched wheel to its place, if it is the locked one."""
    state = hashlib.sha256()
    with fetched.open("rb") as stream:
        while piece := stream.read(1 << 20):
            state.update(piece)
    if state.hexdigest() != pin.sha256:
        raise CheckFailed(
            f"{pin.filename} is not the locked file (its sha256 differs)",
            "lock again if the change is wanted: ./inv lock --profile ...",
        )
    kept.parent.mkdir(parents=True, exist_ok=True)
    fetched.replace(kept)
