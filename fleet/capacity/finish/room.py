"""Bytes on the machine's disk when it is fullest, and the least of them, known before a machine is chosen."""

from __future__ import annotations

from fleet.capacity.finish.checkpoint import checkpoint_bytes, weights_bytes
from fleet.capacity.finish.disk import WORKING, Disk, copies, dataset_bytes, log_bytes
from fleet.capacity.finish.goal import Goal
from fleet.capacity.finish.habits import Habits
from fleet.capacity.shape import Shape


def room(shape: Shape, optimizer: str, habits: Habits, tokens: float, steps: int = 0, seconds: float = 0.0) -> Disk:
    """Bytes by what they are for. tokens: of the dataset; seconds: of the whole run."""
    count = copies(habits.keep)
    return Disk(
        image=habits.unpacked_bytes,
        dataset=dataset_bytes(tokens, shape.vocab),
        checkpoints=count * checkpoint_bytes(shape, optimizer),
        export=weights_bytes(shape) if habits.export else 0.0,
        logs=log_bytes(steps, seconds),
        working=WORKING,
        copies=count,
    )


def least(shape: Shape, optimizer: str, habits: Habits, goal: Goal, step_tokens: int) -> float:
    """Bytes that a run needs wherever it is: what hours or dollars will buy of data, and its logs, come on top.

    Raises WrongInput for an unknown optimizer and for a step of no tokens.
    """
    steps = goal.steps_for(step_tokens) or 0
    return room(shape, optimizer, habits, goal.dataset_tokens or steps * step_tokens, steps).total
