"""The same commit built on machines that differ in everything that must not matter: the digests must be equal."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import Failed, measure
from bench.rows.row import Row
from bench.setting import Setting
from images import system
from images.progress import Plain
from profiles.errors import StokerError

NOBODY = 65534
CLOCK, USER = "clock two years ahead", "user nobody"


@dataclass(frozen=True)
class Machine:
    """What is different. before: put in front of the command."""

    name: str
    env: dict[str, str] = field(default_factory=dict)
    umask: int = 0o022
    folder: str = "checkout"
    before: Sequence[str] = ()
    owner: int = 0


def machines(folder: Path) -> list[Machine]:
    """The differences; those that this machine cannot make are left out."""
    found = [
        Machine("as it is"),
        Machine("umask 077", umask=0o077),
        Machine("umask 000", umask=0o000),
        Machine("time zone and locale", {"TZ": "Pacific/Kiritimati", "LANG": "C", "LC_ALL": "tr_TR.UTF-8"}),
        Machine("home and user name", {"HOME": str(folder / "other home"), "USER": "somebody", "LOGNAME": "somebody"}),
        Machine("path with a space", folder="another place/of a checkout"),
        Machine("hash seed", {"PYTHONHASHSEED": "4242"}),
    ]
    if have_faketime():
        found.append(Machine(CLOCK, before=("faketime", "-f", "+730d")))
    open_to_all = all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents))  # git asks access(2)
    if os.geteuid() == 0 and shutil.which("setpriv") and open_to_all:
        # The interpreter may lie where only root may look, hence the one capability; the files are nobody's own.
        become = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"
        look = "--inh-caps=+dac_read_search --ambient-caps=+dac_read_search"
        found.append(Machine(USER, {"HOME": "/nonexistent"}, before=f"{become} {look}".split(), owner=NOBODY))
    return found


def have_faketime() -> bool:
    """Whether another clock can be shown to a command; installs the Debian package when that is possible."""
    if not shutil.which("faketime") and system.is_debian() and os.geteuid() == 0:
        with suppress(StokerError):
            system.install(["faketime"], Plain())
    return shutil.which("faketime") is not None


def identical(setting: Setting) -> list[Row]:
    """Build everywhere and compare."""
    wheels = wheel_files(setting)
    found: dict[str, str] = {}
    skipped: list[str] = []
    chosen = machines(setting.folder)
    for number, machine in enumerate(chosen):
        place = setting.folder / f"machine-{number}"
        try:
            found[machine.name] = build_on(machine, setting, place, wheels)
        except Failed as failed:
            if machine.name == USER:  # containers without that capability
                skipped.append(f"{machine.name}: {str(failed).splitlines()[-1]}")
            else:
                raise
        finally:
            shutil.rmtree(place, ignore_errors=True)
    tried = {machine.name for machine in chosen}
    skipped += [f"{name}: cannot be made here" for name in (CLOCK, USER) if name not in tried]
    different = sorted(name for name, digest in found.items() if digest != found["as it is"])
    notes = [f"{name}: {digest}" for name, digest in found.items()] + skipped
    return [
        Row(
            what=f"digests over {len(found)} different machines",
            reach="identical",
            met=not different,
            shown="identical" if not different else f"different: {', '.join(different)}",
            notes=notes,
        )
    ]


def wheel_files(setting: Setting) -> Path | None:
    """The wheels that were fetched already; each machine gets a copy, so that the index is asked once."""
    for place in (setting.checkout.home / "wheels", setting.folder / "kept-wheels"):
        if place.exists() and any(place.iterdir()):
            return place
    return None


def build_on(machine: Machine, setting: Setting, place: Path, wheels: Path | None) -> str:
    """The digest of one build from nothing but a clone, the lock and the wheel files."""
    root, home = place / machine.folder, place / "home"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", setting.checkout.root, root], check=True)
    (root / ".venv").symlink_to((setting.checkout.root / ".venv").resolve())
    if wheels:
        shutil.copytree(wheels, home / "wheels")
    home.mkdir(exist_ok=True)
    if machine.owner:
        subprocess.run(["chown", "-R", f"{machine.owner}:{machine.owner}", place], check=True)
    env = {**setting.checkout.env, "STOKER_HOME": str(home), **machine.env}
    command: list[str | Path] = [
        *machine.before,
        root / "inv",
        "build",
        "--profile",
        setting.checkout.profile,
        "--json",
    ]
    rows: list[dict[str, Any]] = json.loads(measure(command, env=env, cwd=root, umask=machine.umask).out)
    if "dirty" in rows[0]["tag"]:
        raise RuntimeError(f"{machine.name}: the clone is dirty")
    return str(rows[0]["digest"])
