"""The licence a wheel states in its METADATA (core metadata specification), remembered beside the wheel."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.parser import HeaderParser
from pathlib import Path

from images.oci.incoming import incoming
from images.plan import ImagePlan, Wheel
from images.store import Store

NAME = "licence"  # file beside the wheel: what was read last time
LONGEST = 100  # characters; longer ones are the whole text of a licence
CLASSIFIER = "License :: "


def licences(plan: ImagePlan, store: Store, fetch_wheels: Callable[[], Mapping[str, Path]]) -> dict[str, str]:
    """Wheel file name -> licence, for the wheels that state one.

    A wheel that is neither here nor remembered is fetched: what a machine holds must not decide what an SBOM says.
    """
    wheels = [wheel for layer in plan.layers for wheel in layer.wheels]
    found = {wheel.filename: remembered(store, wheel) for wheel in wheels}
    if any(licence is None for licence in found.values()):
        paths = fetch_wheels()
        for wheel in wheels:
            if found[wheel.filename] is None:
                found[wheel.filename] = stated(paths[wheel.filename])
                remember(store, wheel, found[wheel.filename] or "")
    return {filename: licence for filename, licence in found.items() if licence}


def remembered(store: Store, wheel: Wheel) -> str | None:
    """None: not read yet; empty: it states none."""
    try:
        return (store.wheels / wheel.sha256[:16] / NAME).read_text("utf-8")
    except FileNotFoundError:
        return None


def remember(store: Store, wheel: Wheel, licence: str) -> None:
    place = store.wheels / wheel.sha256[:16]
    with suppress(OSError), incoming(place) as fresh:  # a full disk costs only the memory
        fresh.file.write(licence.encode())
        fresh.place(place / NAME)


def stated(path: Path) -> str:
    """What a wheel's METADATA says: License-Expression, else a short License, else its classifiers; '' for nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            text = archive.read(inside).decode("utf-8", "replace")
    except (OSError, zipfile.BadZipFile, StopIteration):
        return ""
    fields = HeaderParser().parsestr(text)
    for value in (fields["License-Expression"], fields["License"]):
        if value and value.strip() not in ("", "UNKNOWN") and "\n" not in value.strip() and len(value) <= LONGEST:
            return str(value).strip()
    told = [value for value in fields.get_all("Classifier") or [] if value.startswith(CLASSIFIER)]
    return ", ".join(sorted(value.rpartition(" :: ")[2] for value in told))
