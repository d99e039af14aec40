"""What the image is to train, as the planner weighs it and as flags for its run script."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.fleet_flags import Asked

if TYPE_CHECKING:
    from fleet.deploy.training import Training
    from profiles.schema import Profile
    from trainer.config import Config

# Without these, nobody said how long to train, and the plan decides the steps that the rate falls over.
SAID = ("train.steps", "optim.decay_steps")
DIALLED = ("model.layers", "model.width", "model.heads")  # set by the depth where there is one
PLAN_FLAGS, OUR_FLAGS = "--tokens, --steps, --epochs, --hours or --budget", "--tokens or --steps"
BAKED = ("train.batch", "parallel.zero", "train.checkpointing", "train.micro_batch")


def training_of(asked: Asked, profile: Profile, home: Path, gpus: int) -> tuple[Training, list[str]]:
    """The training of a profile's image under the flags, and what was assumed. gpus: of one machine.

    Raises WrongInput as `plan` does.
    """
    from cli.measured_file import remembered
    from cli.plan import open_precision
    from cli.plan_asked import Asked as Gathered
    from cli.plan_flags import Flags
    from cli.plan_goal import goal_of, habits_of
    from cli.plan_model import choose_model, of_profile
    from cli.plan_workload import of_training, workload_of
    from fleet.deploy.training import Training
    from trainer.config import Config

    flags = Flags(
        model_size=asked.model_size,
        depth=asked.depth,
        device_batch_size=asked.device_batch_size,
        set=asked.set,
        steps=asked.steps,
        tokens=asked.tokens,
        spot=asked.spot,
    )
    image = Gathered(Config())
    of_profile(image, profile)
    found = Gathered(Config())
    choose_model(found, flags, profile)
    of_training(found, flags)
    wanted = deepcopy(found.config)
    work = open_precision(workload_of(found, flags, gpus), found.said.get("precision.name", ""), profile)
    goal = goal_of(found, flags, work)
    derived = not any(key in found.said for key in SAID)
    made = Training(
        work=work,
        goal=goal,
        habits=habits_of(found, flags, False),
        measured=remembered(home),
        baked={key: dict(leaves(wanted))[key] for key in BAKED},
        flags=changed(image.config, wanted),
        derived=derived,
    )
    return made, [note.replace(PLAN_FLAGS, OUR_FLAGS) for note in found.notes]


def unweighed_flags(asked: Asked, profile: Profile, home: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What was typed of the training as flags of the run script, and notes; for a processor: no machine is weighed.

    Nothing typed: no flags, and the image trains as it was baked. Raises WrongInput as `plan` does.
    """
    if no_model(asked):
        return (), ()
    from fleet.deploy.training import Weigher

    made, notes = training_of(asked, profile, home, 1)
    steps = made.goal.steps_for(made.work.step_tokens)
    words = () if steps is None else Weigher(made).steps_flags(steps)
    if made.work.batch != made.baked["train.batch"]:  # the steps were counted with it
        words = (*words, "--set", f"train.batch={made.work.batch}")
    words = (*words, *made.flags)
    return words, (*notes, f"without a GPU neither hours nor dollars are estimated; it runs {' '.join(words)}")


def no_model(asked: Asked) -> bool:
    """Whether nothing is said of a training."""
    return not any((asked.model_size, asked.depth, asked.device_batch_size, asked.set, asked.steps, asked.tokens))


def changed(image: Config, wanted: Config) -> tuple[str, ...]:
    """`--set A.B=C` for everything that differs from what the image does by itself; steps are said apart."""
    before = dict(leaves(image))
    words: list[str] = []
    for key, value in leaves(wanted):
        if value == before.get(key) or key == "train.steps" or (key in DIALLED and wanted.model.depth):
            continue
        words += ["--set", f"{key}={text(value)}"]
    return tuple(words)


def leaves(config: Config) -> Iterator[tuple[str, Any]]:
    """Every key with its value; the curriculum is a list of its own and is not among them."""
    for section, content in dataclasses.asdict(config).items():
        if isinstance(content, dict):
            yield from ((f"{section}.{key}", value) for key, value in content.items())


def text(value: Any) -> str:
    """A value as `--set` reads it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
