"""What Python finds inside the image. It runs there, as `python3 -c <this file> <names>`.

So it has nothing but the standard library of Python 3.10. Prints one line, MARK and a JSON document; whatever a base's
entrypoint prints before does not matter.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

MARK = "stoker-inside: "
HOME = "/opt/stoker"  # images.plan.HOME, which cannot be imported there; a test compares
LIBRARIES = ("torch", "transformer_engine", "flash_attn", "triton", "numpy", "trainer")


def inside(names: list[str]) -> dict[str, object]:
    """Everything the comparison needs. names: distributions whose version and place are asked for."""
    own = sorted({name for folder in folders() if is_ours(folder) for name in modules(folder)})
    return {
        "environment": environment(),
        "distributions": {name: distribution(name) for name in names},
        "modules": {name: origin(name) for name in LIBRARIES},
        "shadowed": {name: found for name in own if (found := overlap(name)) and is_ours(found[0])},
        "hidden": {name: found for name in own if (found := overlap(name)) and not is_ours(found[0])},
        "small": small(),
    }


def folders() -> list[str]:
    """sys.path as the trainer has it: without the working directory, which `-c` puts in front."""
    return [folder for folder in sys.path if folder and Path(folder).is_dir()]


def is_ours(folder: str) -> bool:
    return Path(HOME).resolve() in Path(folder).resolve().parents


def environment() -> dict[str, object]:
    """The trainer's own report, each library really imported; {"problem": ...} when there is none."""
    command = [sys.executable, "-m", "trainer", "environment", "--imports"]
    done = subprocess.run(command, env={**os.environ, "PYTHONSAFEPATH": "1"}, capture_output=True, text=True)
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"problem": last[:500]}


def distribution(name: str) -> dict[str, str] | None:
    """Version and folder of the distribution that Python finds first."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    return {"version": found.version, "folder": str(found.locate_file(""))}


def origin(name: str) -> str | None:
    """The file or folder an import would read; None when there is no such module."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or []), None)


def modules(folder: str) -> list[str]:
    """Names that can be imported from a folder."""
    names = []
    for path in Path(folder).iterdir():
        name = path.name.partition(".")[0]
        if name.isidentifier() and name != "__pycache__" and (path.suffix in (".py", ".so") or path.is_dir()):
            names.append(name)
    return names


def overlap(name: str) -> list[str] | None:
    """The folders on the path with a module of that name, the one that wins first; None when ours is the only one.

    Namespace packages (no __init__) share their name on purpose and do not count.
    """
    found = []
    for folder in folders():
        spec = PathFinder.find_spec(name, [folder])
        if spec is not None and spec.origin is not None and folder not in found:
            found.append(folder)
    mixed = any(is_ours(folder) for folder in found) and any(not is_ours(folder) for folder in found)
    return found if mixed else None


def small() -> dict[str, object]:
    """The trainer's settings for a model that fits everywhere."""
    try:
        from trainer.run.smoke import SMALL
    except ImportError:
        return {}
    return dict(SMALL)


if __name__ == "__main__":
    sys.path[:] = folders()
    print("\n" + MARK + json.dumps(inside(json.loads(sys.argv[1]))), flush=True)
