"""Settings: `stoker.yaml` in the working folder, then STOKER_* variables, then flags; the later one rules.

Keys and tokens are not settings: they come from the environment or a tool's own login, never from a file here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from profiles.errors import WrongInput

KNOWN = {
    "profile": "the profile a task works on when none is named",
    "registry": "where push sends images: HOST[:PORT]/NAME",
    "builder": "append or buildkit",
    "compression": "gzip or zstd",
    "mirror": "REGISTRY=HOST[:PORT][/PREFIX],...: where to read a registry's images instead",
    "insecure_registries": "HOST:PORT,...: registries spoken to over http",
    "build_network": "network of BuildKit's RUN steps: default, host or none",
    "provider": "where deploy rents",
}


def settings(folder: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Every setting that has a value. Raises WrongInput for an unknown name or a file that is not a mapping."""
    found = {**from_file(folder / "stoker.yaml")}
    for name in KNOWN:
        if value := environ.get(f"STOKER_{name.upper()}"):
            found[name] = value
    return found


def from_file(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise WrongInput(
            f"stoker.yaml{where} is not YAML: {getattr(error, 'problem', error)}", "fix that line"
        ) from None
    if not isinstance(value, dict):
        raise WrongInput("stoker.yaml must hold `name: value` lines", f"it may set {', '.join(KNOWN)}")
    for name, entry in value.items():
        if name not in KNOWN:
            raise WrongInput(f"stoker.yaml: {name!r} is not a setting", f"it may set {', '.join(KNOWN)}")
        if isinstance(entry, (dict, list)):
            raise WrongInput(f"stoker.yaml: `{name}` must be one text", f"{name} is {KNOWN[name]}")
    return {str(name): str(entry) for name, entry in value.items() if entry is not None}
