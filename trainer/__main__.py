"""`python -m trainer`: train, environment, preflight, shell, health, smoke.

    train        trains, or resumes: the same command goes on from the newest good checkpoint of its run folder.
                 Step lines (JSON) on standard output and in RUN/metrics.jsonl, words on standard error.
                 Exit codes: 0 done, 1 no, 2 wrong input, 3 the machine failed, 4 refused, 75 stopped and resumable.
                 SIGTERM and SIGINT save and exit 75. SIGKILL loses the steps since the last save and nothing else.
    environment  what this machine and image are, as JSON; needs neither torch nor a GPU
    preflight    whether the host's driver is good enough for the profile; seconds
    shell        `export` lines for every process of the container: thread caps, and what login shells miss
    health       whether the training in the run folder is well; exit 0 or 1; no torch
    smoke        environment, then train, kill, resume, compare in a scratch folder; JSON

An outer smoke test (`inv smoke`) uses, in containers that share one mounted folder:

    python3 -m trainer environment
    python3 -m trainer train --run /mnt/whole  --steps 40 --save-every 10
    python3 -m trainer train --run /mnt/broken --steps 40 --save-every 10   # docker kill -s KILL at step 25
    python3 -m trainer train --run /mnt/broken --steps 40 --save-every 10   # resumes at step 20
    then the loss of each step in both metrics.jsonl must be the same number (trainer/run.py: losses); on a GPU profile
    with the small model of trainer/smoke.py: SMALL as --set flags
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer import config as configuration
from trainer import driver, environment, health, limits, preflight, run, shell, smoke
from trainer import profile as baked
from trainer.errors import CHECK_FAILED, OUTSIDE_FAILED, TrainerError
from trainer.stop import StopRequest


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options, rest = _parser().parse_known_args(arguments)
    if rest and options.command != "smoke":
        _parser().error(f"unknown arguments: {' '.join(rest)}")
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "train": _train,
        "environment": _environment,
        "preflight": _preflight,
        "shell": _shell,
        "health": _health,
        "smoke": lambda chosen: _smoke(chosen, rest),
    }
    try:
        return commands[options.command](options)
    except TrainerError as error:
        print(f"trainer: {error.what}", *filter(None, [error.next_step]), sep="\n  -> ", file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m trainer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--profile", metavar="FILE", help="baked profile (default: /opt/stoker/profile.json if there)")
    shared.add_argument("--run", metavar="DIR", help="run folder (default: STOKER_RUN_DIR, the volume, or under home)")
    train = commands.add_parser("train", parents=[shared], help="train or resume")
    train.add_argument("--steps", type=int, metavar="N", help="steps of the whole run (train.steps)")
    train.add_argument("--save-every", type=int, metavar="N", help="steps between checkpoints (checkpoint.every)")
    train.add_argument("--time-limit", type=float, metavar="S", help="seconds; then save and exit 75")
    train.add_argument("--config", action="append", default=[], metavar="FILE", help="JSON file; repeatable")
    train.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one value; repeatable")
    train.add_argument("--show", action="store_true", help="print config and run folder as JSON, train nothing")
    report = commands.add_parser("environment", parents=[shared], help="JSON report of this place")
    report.add_argument("--imports", action="store_true", help="really import each library (slow)")
    before = commands.add_parser("preflight", parents=[shared], help="driver against the profile's floor")
    before.add_argument("--require-gpu", action="store_true", help="a missing driver is a failure, not a warning")
    commands.add_parser("shell", parents=[shared], help="export lines for shells")
    well = commands.add_parser("health", parents=[shared], help="is the training well")
    well.add_argument("--stall-seconds", type=float, default=health.STALL_SECONDS, metavar="S")
    small = commands.add_parser("smoke", parents=[shared], help="train, kill, resume, compare; more flags go to train")
    small.add_argument("--steps", type=int, default=40, metavar="N")
    return parser


def _train(options: argparse.Namespace) -> int:
    stop = StopRequest()
    if not options.show:
        stop.install()
    config, folder = _resolve(options)
    if options.show:
        print(json.dumps({"run": str(folder), "config": config.to_json()}, indent=1))
        return 0
    try:
        from trainer.loop import train
    except ModuleNotFoundError as error:
        hint = "use the image, or pip install torch"
        raise TrainerError(f"{error.name} is not installed here", hint, OUTSIDE_FAILED) from None
    return train(config, folder, stop)


def _resolve(options: argparse.Namespace) -> tuple[configuration.Config, Path]:
    profile = baked.read(options.profile)
    config = configuration.Config()
    configuration.apply(config, profile.get("trainer") or {}, "profile")
    for file in options.config:
        configuration.apply_file(config, file)
    configuration.apply_text(config, options.set)
    if options.steps is not None:
        config.train.steps = options.steps
    if options.save_every is not None:
        config.checkpoint.every = options.save_every
    if options.time_limit is not None:
        config.train.limit_seconds = options.time_limit
    configuration.check(config)
    folder = _folder(options, profile)
    if profile.get("volume") and not options.show and not run.outlives_container(folder.absolute()):
        print(f"trainer: WARNING: {folder} is on no volume; it vanishes with the container", file=sys.stderr)
    return config, folder


def _folder(options: argparse.Namespace, profile: dict[str, Any]) -> Path:
    if options.run:
        return Path(options.run)
    return run.default_folder(profile, baked.home() if profile else Path.cwd())


def _reported_folder(options: argparse.Namespace) -> Path:
    """The run folder for those who only look: a read-only container has none, and that is no fault."""
    try:
        return _folder(options, baked.read(options.profile))
    except TrainerError as error:
        if error.exit_code != OUTSIDE_FAILED:
            raise
        return baked.home()


def _environment(options: argparse.Namespace) -> int:
    print(json.dumps(environment.report(_reported_folder(options), options.imports), indent=1))
    return 0


def _preflight(options: argparse.Namespace) -> int:
    if os.environ.get("STOKER_SKIP_DRIVER_CHECK") == "1":
        return 0
    profile = baked.read(options.profile)
    if profile.get("gpu"):
        for warning in preflight.check(profile, driver.read(), options.require_gpu):
            print(f"trainer: WARNING: {warning}", file=sys.stderr)
    return 0


def _shell(options: argparse.Namespace) -> int:
    profile = baked.read(options.profile)
    found = limits.report(Path("/"))
    warning = shell.shared_memory_warning(profile, found)
    if warning:
        print(f"trainer: WARNING: {warning}", file=sys.stderr)
    print("\n".join(shell.lines(profile, found, shell.container_environment())))
    return 0


def _health(options: argparse.Namespace) -> int:
    healthy, why = health.judge(_reported_folder(options), options.stall_seconds)
    print(why)
    return 0 if healthy else CHECK_FAILED


def _smoke(options: argparse.Namespace, rest: list[str]) -> int:
    chosen = ["--profile", options.profile] if options.profile else []
    place = environment.report(_reported_folder(options))
    print(json.dumps({**smoke.smoke([*chosen, *rest], options.steps), "environment": place}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
