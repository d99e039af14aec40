"""Package URLs (purl, ECMA-427): the names by which scanners know packages."""

from __future__ import annotations

from urllib.parse import quote


def oci(name: str, digest: str, **qualifiers: str) -> str:
    return f"pkg:oci/{part(name.lower())}@{part(digest)}{tail(qualifiers)}"


def pypi(name: str, version: str) -> str:
    return f"pkg:pypi/{part(name.lower().replace('_', '-'))}@{part(version)}"


def debian(name: str, version: str, **qualifiers: str) -> str:
    return f"pkg:deb/debian/{part(name.lower())}@{part(version)}{tail(qualifiers)}"


def part(text: str) -> str:
    """Percent-encoded but for what purl keeps: letters, digits, `.-_~` and the colon."""
    return quote(text, safe="-._~:")


def tail(qualifiers: dict[str, str]) -> str:
    """Qualifiers in the order of their names; empty ones are left out."""
    found = "&".join(f"{name}={quote(value, safe='-._~:/')}" for name, value in sorted(qualifiers.items()) if value)
    return f"?{found}" if found else ""
