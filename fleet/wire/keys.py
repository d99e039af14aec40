"""Which providers there is a key for. A key is never shown: not in a message, a log, a repr or a file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fleet.wire.failed import KEY_NAMES, key_step
from profiles.errors import WrongInput

# Hyperbolic's MCP server calls it so (providers.md 3.2); ours wins when both are set.
ALSO = {"hyperbolic": ("HYPERBOLIC_API_TOKEN",)}
# Files that other clients wrote: runpod's Python client (providers.md 1.16), SkyPilot for Hyperbolic (3.2).
FILES = {"runpod": ".runpod/config.toml", "hyperbolic": ".hyperbolic/api_key"}
LONGEST = 4096  # bytes of a key file that are read


@dataclass(frozen=True, slots=True)
class Key:
    """A provider's API key. value: the secret, in no repr; source: where it was found."""

    provider: str
    value: str = field(repr=False)
    source: str


def keys(environ: Mapping[str, str], home: Path | None = None) -> dict[str, Key]:
    """The keys that are there, by provider. home: where the clients' own files are looked for, None: not at all.

    The environment wins. Raises WrongInput for a key with characters that no HTTP header may hold.
    """
    found = {}
    for provider, name in KEY_NAMES.items():
        named = [(environ.get(each, "").strip(), each) for each in (name, *ALSO.get(provider, ()))]
        if home is not None and provider in FILES:
            named.append((in_file(home / FILES[provider]), f"~/{FILES[provider]}"))
        value, source = next(((value, source) for value, source in named if value), ("", ""))
        if value:
            found[provider] = Key(provider, checked(value, provider, source), source)
    return found


def in_file(path: Path) -> str:
    """The key in a client's own file, "" without one: `api_key` of the default profile of a .toml, else the text."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST).decode("utf-8")
        if path.suffix != ".toml":
            return content.strip()
        found = tomllib.loads(content)
    except (OSError, ValueError):  # not there, not ours to read, not UTF-8, not TOML
        return ""
    profile = found.get("default", found)
    value = profile.get("api_key") if isinstance(profile, dict) else None
    return value.strip() if isinstance(value, str) else ""


def checked(value: str, provider: str, source: str) -> str:
    """`value`, when a header can carry it."""
    if any(not "!" <= letter <= "~" for letter in value):
        raise WrongInput(
            f"{source} holds characters that no key has (a line break, a space, a quote?)", key_step(provider)
        )
    return value
