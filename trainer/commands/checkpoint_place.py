"""Which run, and which of its checkpoints, a part of `checkpoints` is about; what is not there is said in one line."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import sys
from pathlib import Path
from typing import Any

from trainer.checkpoint import folder, manifest
from trainer.commands import place
from trainer.errors import CHECK_FAILED, OUTSIDE_FAILED, TrainerError
from trainer.run.folder import CHECKPOINTS, CONFIG

VERBS = ("list", "verify", "best", "prune", "pull", "export", "diff")


def add(parser: argparse.ArgumentParser, remote: str) -> None:
    """Adds RUN, also as --run, with --profile, --remote and --json. remote: what the URL is for."""
    parser.add_argument("path", nargs="?", metavar="RUN", help="the run folder; --run says the same")
    place.add(parser)
    parser.add_argument("--remote", metavar="URL", help=remote)
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")


def run_folder(options: argparse.Namespace) -> Path:
    """The run folder that is meant. Raises TrainerError when it is not there."""
    if options.path and options.run:
        raise TrainerError(f"{options.path} and --run {options.run} both name a run", "give one of them")
    run = Path(options.path) if options.path else place.reported_folder(options)
    if run.name == CHECKPOINTS and not (run / CHECKPOINTS).is_dir():
        run = run.parent  # a completing shell goes one folder too far
    if folder.step_of(run.name) is not None:
        raise TrainerError(f"{run} is one checkpoint", f"give its run: {run.parent.parent}")
    if not run.exists():
        near = difflib.get_close_matches(str(options.path), VERBS, 1) if options.path else []
        hint = f"did you mean `checkpoints {near[0]}`?" if near else "give the folder of `train --run`"
        raise TrainerError(f"there is no run at {run}: no such folder", hint)
    if not run.is_dir():
        raise TrainerError(f"{run} is a file, not a run folder", "give the folder of `train --run`")
    return run


def root(run: Path) -> Path:
    """RUN/checkpoints, which need not be there yet. Raises TrainerError when it cannot be read."""
    there = run / CHECKPOINTS
    try:
        os.scandir(there).close()
    except FileNotFoundError:
        if not there.is_symlink():
            return there
        raise TrainerError(f"{there} is a link to nothing", "is its volume mounted?", OUTSIDE_FAILED) from None
    except OSError as error:
        hint = "check who may read it, and the mount"
        raise TrainerError(f"cannot read {there}: {error.strerror}", hint, OUTSIDE_FAILED) from None
    return there


def some(run: Path) -> list[Path]:
    """Its checkpoints, newest first. Raises TrainerError, exit code 1, when there is none."""
    found = folder.found(root(run))
    if not found:
        hint = "train saves one every checkpoint.every steps; or give another run"
        raise TrainerError(f"{run} has no checkpoint yet", hint, CHECK_FAILED)
    return found


def one(path: Path) -> Path:
    """A checkpoint folder given by its path. Raises TrainerError when it is none, or not one yet."""
    if path.name == manifest.MANIFEST:
        path = path.parent
    if _pointer(path):
        named = folder.pointed(path.parent, path.name)
        if named is None:
            raise TrainerError(f"{path} names no checkpoint that is there", "give its folder, step-...")
        path = named
    if path.name.startswith(".staging-"):
        raise TrainerError(f"{path} is being written, or was when its trainer was killed", "verify it once it is there")
    if path.name.startswith(".incoming-"):
        raise TrainerError(f"{path} is a download that has not ended", "run the same pull again: it goes on")
    if not path.is_dir():
        raise TrainerError(f"there is no checkpoint at {path}", f"`checkpoints list {path.parent.parent}` shows them")
    return path


def is_one(path: str | None) -> bool:
    """Whether a path means one checkpoint, there or not, and not a run."""
    if path is None:
        return False
    name = Path(path).name
    hidden = name.startswith((".staging-", ".incoming-"))
    named = name == manifest.MANIFEST or _pointer(Path(path))
    return hidden or folder.step_of(name) is not None or named or _sealed(Path(path))


def settings(run: Path) -> dict[str, Any]:
    """The `checkpoint` part of the run's config.json; {} when there is none. Raises TrainerError when it is broken."""
    try:
        content = json.loads((run / CONFIG).read_text(encoding="utf-8"))
        return dict(content.get("checkpoint") or {})
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise TrainerError(f"cannot read {run / CONFIG}: {error}", "mend it: what must stay is said there") from None


def whole(flag: str, text: str | None, least: int) -> int | None:
    """The number given to a flag. Raises TrainerError when it is none, or below `least`."""
    if text is None:
        return None
    try:
        number = int(text)
    except ValueError:
        raise TrainerError(f"{flag} is {text!r}", f"give a whole number of at least {least}") from None
    if number < least:
        raise TrainerError(f"{flag} is {number}", f"give at least {least}")
    return number


def say(text: str) -> None:
    """A line for people, on standard error."""
    print(f"trainer: {text}", file=sys.stderr, flush=True)


def _pointer(path: Path) -> bool:
    return path.name in folder.POINTERS and path.parent.name == CHECKPOINTS and path.is_file()


def _sealed(path: Path) -> bool:
    return (path / manifest.MANIFEST).is_file()
