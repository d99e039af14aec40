"""The licence a wheel states in its METADATA (core metadata specification), remembered beside the wheel."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from images.oci.incoming import incoming
from images.oci.manifest import canonical
from images.plan import ImagePlan, Wheel
from images.store import Store

NAME = "licence.json"  # file beside the wheel: what was read last time
LONGEST = 100  # characters; longer ones are the whole text of a licence
CLASSIFIER = "License :: "
Licence = dict[str, Any]  # CycloneDX' licence choice: {"expression": SPDX} or {"license": {"name": words}}; {}: none


def licences(plan: ImagePlan, store: Store, fetch_wheels: Callable[[], Mapping[str, Path]]) -> dict[str, Licence]:
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
                remember(store, wheel, found[wheel.filename] or {})
    return {filename: licence for filename, licence in found.items() if licence}


def remembered(store: Store, wheel: Wheel) -> Licence | None:
    """None: not read yet; empty: it states none."""
    try:
        value: Licence = json.loads((store.wheels / wheel.sha256[:16] / NAME).read_bytes())
    except (OSError, ValueError):
        return None
    return value


def remember(store: Store, wheel: Wheel, licence: Licence) -> None:
    place = store.wheels / wheel.sha256[:16]
    with suppress(OSError), incoming(place) as fresh:  # a full disk costs only the memory
        fresh.file.write(canonical(licence))
        fresh.place(place / NAME)


def stated(path: Path) -> Licence:
    """What a wheel's METADATA says: License-Expression (PEP 639), else a short License, else its classifiers."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            text = archive.read(inside).decode("utf-8", "replace")
    except (OSError, zipfile.BadZipFile, StopIteration):
        return {}
    fields = HeaderParser().parsestr(text)
    if expression := str(fields["License-Expression"] or "").strip():
        return {"expression": expression}
    words = str(fields["License"] or "").strip()
    if words in ("", "UNKNOWN") or "\n" in words or len(words) > LONGEST:
        told = [value for value in fields.get_all("Classifier") or [] if value.startswith(CLASSIFIER)]
        words = ", ".join(sorted(value.rpartition(" :: ")[2] for value in told))
    return {"license": {"name": words}} if words else {}
