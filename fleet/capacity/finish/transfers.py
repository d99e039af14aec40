"""Seconds of what goes over the machine's link."""

from __future__ import annotations

from fleet.capacity.figure import Figure
from fleet.capacity.finish.checkpoint import checkpoint_bytes, weights_bytes
from fleet.capacity.finish.disk import link_figure
from fleet.capacity.finish.estimate import LINK
from fleet.capacity.finish.habits import Habits
from fleet.capacity.setup import Setup

SPREAD = (1 / LINK[0], 1 / LINK[2])


def transfers(setup: Setup, habits: Habits, data: float) -> dict[str, Figure]:
    """By name. data: bytes of the dataset."""
    size = checkpoint_bytes(setup.shape, setup.optimizer)
    return {
        "image down": link_figure(habits.image_bytes, habits.down_mbit, SPREAD),
        "data down": link_figure(data, habits.down_mbit, SPREAD),
        "checkpoint up": link_figure(size, habits.up_mbit, SPREAD),
        "checkpoint down": link_figure(size, habits.down_mbit, SPREAD),
        "export up": link_figure(weights_bytes(setup.shape), habits.up_mbit, SPREAD),
    }
