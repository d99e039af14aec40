"""`checkpoints prune`: makes room, here and at a store; never at the cost of the last checkpoint that verifies."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.checkpoint import folder, manifest, publish, retention, thin, verify
from trainer.checkpoint.publish import Rules
from trainer.checkpoint.space import size, taken
from trainer.commands import checkpoint_place as places
from trainer.commands.checkpoint_place import say
from trainer.commands.checkpoint_speed import Speed
from trainer.config import Checkpoint
from trainer.errors import OUTSIDE_FAILED, REFUSED, TrainerError

STORY = """Deletes checkpoints beyond the newest --keep. The best, every --keep-every steps, what a required store has
not got yet and the newest one that verifies always stay: that one is hashed first, and when none verifies nothing is
deleted. With --remote, --remote-keep says how many stay at that store; the disk is left alone then unless --keep,
--keep-every or --optimizer is given too."""


@dataclass
class Plan:
    """What is to go, from where. items: name and bytes, oldest first; passed: damaged ones, which are left alone;
    act: does it for one name, and returns the bytes that came free."""

    where: str
    verified: str | None
    act: Callable[[str], int]
    items: dict[str, int] = field(default_factory=dict)
    passed: dict[str, str] = field(default_factory=dict)
    what: str = "delete"

    def to_json(self, done: bool) -> dict[str, Any]:
        """All but the deed."""
        told = {name: value for name, value in vars(self).items() if name not in ("act", "items", "what")}
        going = [{"checkpoint": name, "bytes": count} for name, count in self.items.items()]
        return {**told, "action": self.what, "checkpoints": going, "bytes": sum(self.items.values()), "done": done}


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    places.add(parser, "a store to prune too; needs --remote-keep")
    parser.add_argument("--keep", metavar="N", help="newest that stay here (default: checkpoint.keep of the run)")
    parser.add_argument("--keep-every", metavar="K", help="multiples of K steps stay (default: checkpoint.keep_every)")
    parser.add_argument("--remote-keep", metavar="N", help="newest that stay at the store of --remote")
    parser.add_argument(
        "--optimizer",
        action="store_true",
        help="drop the optimizer's files alone: weights stay for use, not to go on training",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would go, delete nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Plans, asks, deletes, tells."""
    keep = places.whole("--keep", options.keep, 1)
    every = places.whole("--keep-every", options.keep_every, 0)
    remote_keep = places.whole("--remote-keep", options.remote_keep, 1)
    if (options.remote is None) != (remote_keep is None):
        hint = "--remote URL --remote-keep N belong together; --keep is about this disk"
        raise TrainerError("which store, and how many stay there?", hint)
    with ExitStack() as opened:
        plans = []
        if options.remote is None or keep is not None or every is not None or options.optimizer:
            plans.append(here(places.run_folder(options), keep, every, options.optimizer))
        if options.remote is not None and remote_keep is not None:
            from trainer.commands.checkpoint_prune_store import planned

            plans.append(planned(options.remote, remote_keep, every or 0, opened))
        for plan in plans:
            _tell(plan)
        done = any(plan.items for plan in plans) and not options.dry_run
        if done:
            _ask(plans, options.yes)
            for plan in plans:
                plan.items = {name: plan.act(name) for name in plan.items}
    if options.json:
        print(json.dumps([plan.to_json(done) for plan in plans], indent=1))
    elif done:
        print("\n".join(f"{plan.where}: {size(sum(plan.items.values()))} freed" for plan in plans))
    return 0


def here(run_folder: Path, keep: int | None, every: int | None, optimizer: bool) -> Plan:
    """What may go of a run folder. Hashes the newest; raises TrainerError, exit code 4, when none is good."""
    rules = _rules(run_folder, keep, every)
    found = places.some(run_folder)
    root = places.root(run_folder)
    passed = {path.name: why for path in found if (why := verify.fault(path, hashes=False))}
    good = [path for path in found if path.name not in passed]
    latest = folder.pointed(root, folder.LATEST)
    protect = {*publish.protected(root, rules), *_best_of(good), *([_step(latest)] if latest else [])}
    if not _going(good, rules, protect, optimizer, every):
        return Plan(str(run_folder), None, _never, {}, passed)
    newest = _newest_good(good, passed)
    if newest is None:
        what = f"no checkpoint of {run_folder} can be resumed from; nothing is deleted"
        hint = "`checkpoints verify --all` tells why; checkpoints pull URL brings a good one"
        raise TrainerError(what, hint, REFUSED)
    good = [path for path in good if path.name not in passed]
    going = _going(good, rules, protect | {_step(newest)}, optimizer, every)
    act = _thinner(root) if optimizer else _deleter(root)
    sizes = {path.name: _optimizer_bytes(path) if optimizer else taken(path) for path in going}
    what = "drop the optimizer's files of" if optimizer else "delete"
    return Plan(str(run_folder), newest.name, act, sizes, passed, what)


def _going(good: list[Path], rules: Rules, protect: set[int], optimizer: bool, every: int | None) -> list[Path]:
    """Of what is not damaged, that which may go. The newest `keep` are counted among those one can resume from.

    optimizer: what stays for its weights (the config's keep_every) need not keep more than these, unless the user
    says --keep-every; those that have no optimizer's files any more are done.
    """
    resumable = [_step(path) for path in good if _resumable(path)]
    kept = {*sorted(resumable)[-rules.keep :], *protect}
    period = (every or 0) if optimizer else rules.keep_every
    steps = set(retention.expendable([_step(path) for path in good], rules.keep, period, kept))
    chosen = sorted((path for path in good if _step(path) in steps), key=_step)
    return [path for path in chosen if _optimizer_bytes(path)] if optimizer else chosen


def _newest_good(good: list[Path], passed: dict[str, str]) -> Path | None:
    """The newest whose every byte is as written; notes those before it that are not."""
    for path in good:
        if not _resumable(path):
            continue
        speed = Speed(f"verifying {path.name}", taken(path))
        why = verify.fault(path, moved=speed)
        speed.close()
        if why is None:
            return path
        passed[path.name] = why
    return None


def _rules(run_folder: Path, keep: int | None, every: int | None) -> Rules:
    told, usual = places.settings(run_folder), Checkpoint()
    try:
        return Rules(
            max(1, int(told.get("keep", usual.keep))) if keep is None else keep,
            max(0, int(told.get("keep_every", usual.keep_every))) if every is None else every,
            str(told.get("remote", usual.remote)) if told.get("require_remote", usual.require_remote) else None,
        )
    except (TypeError, ValueError):
        raise TrainerError(
            f"the checkpoint settings of {run_folder} make no sense: {told}", "mend config.json"
        ) from None


def _tell(plan: Plan) -> None:
    for name, why in plan.passed.items():
        say(f"WARNING: {name} of {plan.where} is damaged ({why}); it is not counted, and left alone")
    if not plan.items:
        say(f"{plan.where}: nothing has to go")
        return
    if plan.verified:
        say(f"{plan.where}: {plan.verified} verifies and stays")
    for name, count in plan.items.items():
        say(f"{plan.what} {name}, {size(count)}")


def _ask(plans: list[Plan], yes: bool) -> None:
    if yes:
        return
    total = size(sum(sum(plan.items.values()) for plan in plans))
    names = [name for plan in plans for name in plan.items]
    if sys.stdin is None or not sys.stdin.isatty():
        raise TrainerError(
            f"{total} of {len(names)} checkpoints would go", "--yes to go on without being asked", REFUSED
        )
    print(f"free {total} ({len(names)} checkpoints)? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise TrainerError("nothing was deleted", "", REFUSED)


def _deleter(root: Path) -> Callable[[str], int]:
    def delete(name: str) -> int:
        count = taken(root / name)
        try:
            folder.discard(root / name)
        except FileNotFoundError:  # the trainer's own retention was faster
            return 0
        except OSError as error:
            raise _failed(root / name, error) from None
        return count

    return delete


def _thinner(root: Path) -> Callable[[str], int]:
    def drop(name: str) -> int:
        try:
            return thin.thin(root / name)
        except manifest.Damaged:  # gone, or going: the trainer's own retention was faster
            return 0
        except OSError as error:
            raise _failed(root / name, error) from None

    return drop


def _failed(path: Path, error: OSError) -> TrainerError:
    hint = "check who may write there; what went before it is gone, the rest is as it was"
    return TrainerError(f"cannot remove {path}: {error.strerror}", hint, OUTSIDE_FAILED)


def _resumable(path: Path) -> bool:
    try:
        return manifest.resumable(manifest.read(path))
    except manifest.Damaged:  # gone since we looked
        return False


def _best_of(found: list[Path]) -> list[int]:
    """The best step that the newest manifest knows of: `best` may be missing where a run was pulled."""
    for path in found:
        try:
            step = (manifest.read(path).get("best") or {}).get("step")
        except manifest.Damaged:
            continue
        return [step] if isinstance(step, int) else []
    return []


def _never(name: str) -> int:
    raise AssertionError(name)


def _optimizer_bytes(path: Path) -> int:
    return sum(taken(file) for file in path.glob(f"{thin.OPTIMIZER}*"))


def _step(path: Path) -> int:
    return folder.step_of(path.name) or 0
