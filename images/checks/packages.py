"""Which packages an image holds: from its plan, from its SBOM, or from the dist-info folders in its layers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from images.plan import SITE

if TYPE_CHECKING:
    from images.store import Store

INFO = re.compile(rf"{re.escape(SITE)}/([^/]+?)-([^/-]+)\.dist-info/METADATA")
PURL = re.compile(r"pkg:(pypi|deb/debian)/([^@?]+)@([^?]+)")


def of_plan(plan: Mapping[str, Any], store: Store) -> dict[str, str]:
    """name -> version, of a plan's JSON: wheels, and Debian's packages where the base was bootstrapped here."""
    found = {f"python {wheel['name']}": wheel["version"] for layer in plan["layers"] for wheel in layer["wheels"]}
    if plan["base"]["kind"] == "debian":
        debian = bootstrapped(store, plan["base"]["digest"])
        found |= {f"debian {name}": version for name, version in debian.items()}
    return found


def of_sbom(document: Mapping[str, Any]) -> dict[str, str]:
    """The same, of an SBOM of ours."""
    found = {}
    for component in document.get("components", []):
        if match := PURL.match(component.get("purl", "")):
            kind = "python" if match[1] == "pypi" else "debian"
            found[f"{kind} {unquote(match[2])}"] = unquote(match[3])
    return found


def of_files(paths: Iterable[str]) -> dict[str, str]:
    """The same, of the files of our layers: Python packages only."""
    found = {}
    for path in paths:
        if match := INFO.fullmatch(path):
            found[f"python {re.sub(r'[-_.]+', '-', match[1]).lower()}"] = match[2]  # PEP 503
    return found


def bootstrapped(store: Store, digest: str) -> dict[str, str]:
    """Debian packages of a base, as remembered when it was made here; {} when it was not."""
    for path in sorted(store.bases.glob("debian-*.json")):
        try:
            value = json.loads(path.read_text("utf-8"))
            if value["digest"] == digest:
                return {str(name): str(version) for name, version in value["packages"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return {}
