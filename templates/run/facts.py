#!/usr/bin/env python3
"""Answers that the run scripts need and a shell cannot find: lines for its `eval`, or one JSON document.

facts start NAME...     the baked profile's facts; exports for those variables that only process 1 has
facts shown             what `train --show` printed (standard input): run, its remote, hours of one call
facts left seconds|dollars LIMIT RUN...     what is left of so many hours or dollars, for these runs together
facts owned RUN         0 when a living trainer holds the folder, else 1
facts good RUN          0 when a checkpoint in RUN/checkpoints is whole to the last byte, else 1
facts report RUN        where this is: machine, image, mounts, names of the variables that are set
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

HOME = Path(os.environ.get("STOKER_HOME_DIR", "/opt/stoker"))
VIRTUAL = {
    "proc",
    "sysfs",
    "devpts",
    "mqueue",
    "cgroup",
    "cgroup2",
    "securityfs",
    "debugfs",
    "tracefs",
    "bpf",
    "pstore",
}


def lines(values: dict[str, object], prefix: str = "") -> None:
    """NAME='value' for a shell."""
    for name, value in values.items():
        print(f"{prefix}{name}={shlex.quote('' if value is None else str(value))}")


def start(*names: str) -> int:
    """The profile, and the container's environment: a login shell does not inherit it."""
    try:
        content = json.loads((HOME / "profile.json").read_text(encoding="utf-8"))
        every = ((content.get("trainer") or {}).get("checkpoint") or {}).get("every")
    except (OSError, ValueError, AttributeError) as error:
        print(
            f"cannot read the profile {HOME}/profile.json: {error}",
            "the image is broken: build it again",
            sep="\n  -> ",
            file=sys.stderr,
        )
        return 2
    facts = {"profile_name": content.get("profile") or "run", "profile_volume": content.get("volume")}
    lines({**facts, "profile_every": every})
    try:
        from trainer.machine.shell import container_environment

        told = container_environment()
    except ImportError:  # asked for help where no trainer is
        told = dict(os.environ)
    found = {name: told[name] for name in names if told.get(name) and not os.environ.get(name)}
    try:
        found |= secrets(os.environ.get("STOKER_SECRETS") or told.get("STOKER_SECRETS") or "", {**told, **os.environ})
    except ValueError:
        print(
            "STOKER_SECRETS is not NAME=OTHER,...", "give names of variables, no values", sep="\n  -> ", file=sys.stderr
        )
        return 2
    lines(found, "export ")
    return 0


def secrets(mapping: str, told: Mapping[str, str]) -> dict[str, str]:
    """Variables that a provider's store could only give under other names. What is set stays. Raises ValueError."""
    found = {}
    for pair in filter(None, (pair.strip() for pair in mapping.split(","))):
        named = re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)=([A-Za-z_][A-Za-z0-9_]*)", pair)
        if not named:
            raise ValueError(mapping)
        if not told.get(named[2]) and not told.get(named[1]):
            print(f"WARNING: {named[1]} was to come from {named[2]}, which is not set", file=sys.stderr)
        elif not told.get(named[1]):
            found[named[1]] = told[named[2]]
    return found


def shown() -> int:
    """Of the resolved run: its folder, its remote, the hours of one call; and whether it can have its ranks."""
    from trainer.commands.train import visible_gpus

    told = json.load(sys.stdin)
    config = told["config"]
    gpus = visible_gpus() if config["train"]["device"] != "cpu" else 0
    ranks = os.environ.get("NPROC_PER_NODE") or ""
    if gpus and ranks and int(ranks) > gpus:
        print(
            f"NPROC_PER_NODE is {ranks}, this machine shows {gpus} GPUs",
            "lower it, or unset it",
            sep="\n  -> ",
            file=sys.stderr,
        )
        return 2
    remote = config["checkpoint"].get("remote")
    lines(
        {
            "run": told["run"],
            "shown_remote": remote,
            "call_hours": config["limits"]["hours"],
            "ranks": ranks or max(1, gpus),
        }
    )
    return 0


def left(kind: str, limit: str, *runs: str) -> int:
    """Of so many hours (in seconds) or dollars; by the runs' own logs, which travel with them to other machines."""
    from trainer.metrics import log
    from trainer.metrics.goodput import Tally

    spent = 0.0
    for run in runs:
        tally = Tally()
        for line in log.read(Path(run) / log.TRAINING):
            tally.add(line)
        spent += tally.result().seconds if kind == "seconds" else tally.result().dollars
    print(f"{max(0.0, float(limit) * (3600 if kind == 'seconds' else 1) - spent):.3f}")
    return 0


def owned(run: str) -> int:
    """0 when a living trainer holds the run folder, else 1."""
    from trainer.run.folder import is_owned

    return 0 if is_owned(Path(run)) else 1


def good(run: str) -> int:
    """0 when a checkpoint here is whole to the last byte and can be resumed from, else 1."""
    from trainer.checkpoint.verify import newest_good

    return 0 if newest_good(Path(run) / "checkpoints", lambda text: print(text, file=sys.stderr)) else 1


def report(*flags: str) -> int:
    """Names of variables, never a value: they hold keys. Mount options can hold passwords and stay out."""
    from trainer.machine import environment
    from trainer.run.folder import default_folder

    profile = json.loads((HOME / "profile.json").read_text(encoding="utf-8"))
    image = {name: profile.get(name) for name in ("profile", "version", "precision", "gpu", "driver_floor", "volume")}
    run = default_folder(profile, HOME)
    checkpoints = sorted(path.parent.name for path in run.glob("checkpoints/step-*/manifest.json"))
    answer = {
        "image": image,
        "run": {"folder": str(run), "checkpoints": checkpoints},
        **environment.report(run, imports="--imports" in flags),
        "mounts": mounts(),
        "variables": sorted(os.environ),
    }
    print(json.dumps(answer, indent=1))
    return 0


def mounts() -> list[dict[str, object]]:
    """What is mounted where, with the room that is left."""
    found: list[dict[str, object]] = []
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        source, path, kind = (part.encode().decode("unicode_escape") for part in line.split()[:3])
        if kind in VIRTUAL:
            continue
        try:
            space = os.statvfs(path)
            free: int | None = space.f_bavail * space.f_frsize
        except OSError:
            free = None
        found.append({"path": path, "type": kind, "source": source.rpartition("@")[2], "free_bytes": free})
    return found


COMMANDS: dict[str, Callable[..., int]] = {
    "start": start,
    "shown": shown,
    "left": left,
    "owned": owned,
    "good": good,
    "report": report,
}

if __name__ == "__main__":
    sys.exit(COMMANDS[sys.argv[1]](*sys.argv[2:]))
