"""`train`: trains, or resumes; on as many ranks as there are GPUs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from trainer.commands import place
from trainer.commands.backup import backup
from trainer.config import Config
from trainer.config.check import batches, check, resolve
from trainer.config.read import apply, apply_file, apply_hardware, apply_text
from trainer.errors import OUTSIDE_FAILED, TrainerError
from trainer.machine import driver
from trainer.machine import profile as baked
from trainer.run import folder as runs
from trainer.run.resumption import CHANGES, Resume
from trainer.run.room import fits_host
from trainer.run.stop import StopRequest

STORY = """Trains, or resumes: the same command goes on from the newest good checkpoint of its run folder.

Values come, later over earlier, from the defaults, the baked profile, --preset, --config and --set. Step lines (JSON)
on standard output and in RUN/training_metrics.jsonl, words on standard error and in RUN/training.log.

SIGTERM, SIGINT and SIGUSR1 finish the step, save and exit 75. SIGKILL loses the steps since the last save, no more.
Exit codes: 0 done, 1 no, 2 wrong input, 3 the machine failed, 4 refused, 75 stopped and resumable.
"""


def register(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "train", help="train or resume", description=STORY, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    place.add(parser)
    add_config(parser)
    parser.add_argument("--show", action="store_true", help="print config and run folder as JSON, train nothing")
    add_resume(parser)
    parser.set_defaults(act=run)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that make a Config."""
    parser.add_argument("--preset", metavar="NAME", help="a named configuration: python -m trainer presets")
    parser.add_argument("--config", action="append", default=[], metavar="FILE", help="YAML or JSON; repeatable")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one value; repeatable")
    parser.add_argument("--data", metavar="PATH", help="prepared folder or text file (data.path)")
    parser.add_argument("--steps", metavar="N", help="steps of the whole run (train.steps)")
    parser.add_argument("--micro-batch", metavar="N", help="windows at once on a rank, or auto (train.micro_batch)")
    parser.add_argument("--precision", metavar="P", help="precision.name")
    parser.add_argument("--save-every", metavar="N", help="steps between checkpoints (checkpoint.every)")
    parser.add_argument("--remote", metavar="URL", help="send checkpoints there: hf://, gs://, s3://, ssh://, file://")
    parser.add_argument("--sync-every", metavar="S", help="seconds between looks at what has to be sent")
    parser.add_argument("--require-remote", action="store_true", help="drop nothing here that is not whole there")
    parser.add_argument("--time-limit", type=float, metavar="S", help="seconds; then save and exit 75 (limits.hours)")
    # DeepSpeed's launcher adds it, as torch.distributed.launch did; the environment says the same
    parser.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--ranks", default="auto", metavar="N", help="processes on this machine; auto: one per GPU")


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say how a run is taken up."""
    parser.add_argument("--resume-from-step", type=int, metavar="N", help="go back to it; newer ones are set aside")
    parser.add_argument(
        "--allow-change",
        action="append",
        default=[],
        choices=CHANGES,
        help="what may differ from the checkpoint on purpose; repeatable",
    )


def run(options: argparse.Namespace) -> int:
    """Trains; starts one process per rank when there are several and none is started yet."""
    stop = StopRequest()
    if not options.show:
        stop.install()
    if options.resume_from_step is not None and options.resume_from_step < 0:
        raise TrainerError(
            f"--resume-from-step is {options.resume_from_step}", "give a step; `checkpoints RUN` lists them"
        )
    config, folder = resolved(options)
    if options.show:
        print(json.dumps({"run": str(folder), "config": config.to_json()}, indent=1))
        return 0
    ranks = rank_count(options.ranks, config)
    batches(config, ranks)  # before so many processes are started to say the same
    if "RANK" not in os.environ and (config.train.device == "cpu" or not visible_gpus()):
        fits_host(config, ranks)
    with backup(config, folder, stop, options.resume_from_step):
        if ranks > 1 and "RANK" not in os.environ:
            from trainer.parallel.launch import launch

            return launch(sys.argv[1:], ranks, asked=lambda: stop.reason)
        train = needs_torch()
        wish = Resume(frozenset(options.allow_change), options.resume_from_step)
        return int(train(config, folder, stop, wish=wish))


def needs_torch() -> Any:
    """The training loop. Raises TrainerError when torch is missing."""
    try:
        from trainer.run.loop import train
    except ModuleNotFoundError as error:
        hint = "use the image, or pip install torch"
        raise TrainerError(f"{error.name} is not installed here", hint, OUTSIDE_FAILED) from None
    return train


def resolved(options: argparse.Namespace) -> tuple[Config, Path]:
    """The checked config and the run folder of these flags."""
    profile = baked.read(options.profile)
    config = Config()
    apply_hardware(config, profile)
    if options.preset:
        from trainer.config.presets import preset

        apply(config, preset(options.preset).values, f"preset {options.preset}")
    for file in options.config:
        apply_file(config, file)
    for flag, assignment in _flags(options).items():
        apply_text(config, [assignment], flag)
    apply_text(config, options.set)
    if options.time_limit is not None:
        if not 0 <= options.time_limit < float("inf"):
            raise TrainerError(f"--time-limit is {options.time_limit:g}", "give seconds from 0 up; 0 is no limit")
        config.limits.hours = options.time_limit / 3600
    resolve(config)
    check(config)
    folder = place.run_folder(options, profile)
    if profile.get("volume") and not _quiet(options) and not runs.outlives_container(folder.absolute()):
        print(f"trainer: WARNING: {folder} is on no volume; it vanishes with the container", file=sys.stderr)
    return config, folder


def rank_count(wish: str, config: Config) -> int:
    """Processes to start. Raises TrainerError when it is no number, or more than the GPUs of a GPU run."""
    gpus = visible_gpus() if config.train.device != "cpu" else 0
    if wish == "auto":
        return max(1, gpus)
    if not wish.isdigit() or int(wish) < 1:
        raise TrainerError(f"--ranks is {wish!r}", "give a number of at least 1, or auto")
    if gpus and int(wish) > gpus:
        raise TrainerError(f"--ranks is {wish}, this machine shows {gpus} GPUs", "lower --ranks, or use auto")
    return int(wish)


def visible_gpus() -> int:
    """GPUs that a process of this container sees; without torch, whose import takes seconds."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return len([part for part in chosen.split(",") if part.strip() and part.strip() != "-1"])
    return len(driver.read().devices)


def _flags(options: argparse.Namespace) -> dict[str, str]:
    """By flag, the assignment that it stands for."""
    micro = "0" if options.micro_batch == "auto" else options.micro_batch
    pairs = {
        "--data": ("data.path", options.data),
        "--steps": ("train.steps", options.steps),
        "--micro-batch": ("train.micro_batch", micro),
        "--precision": ("precision.name", options.precision),
        "--save-every": ("checkpoint.every", options.save_every),
        "--remote": ("checkpoint.remote", options.remote),
        "--sync-every": ("checkpoint.sync_seconds", options.sync_every),
        "--require-remote": ("checkpoint.require_remote", "true" if options.require_remote else None),
    }
    return {flag: f"{name}={value}" for flag, (name, value) in pairs.items() if value is not None}


def _quiet(options: argparse.Namespace) -> bool:
    return bool(getattr(options, "show", False)) or os.environ.get("RANK", "0") != "0"
