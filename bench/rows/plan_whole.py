"""Whole published runs: hours and dollars to finish, the setup known, the rate not given."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from statistics import median

from bench.rows.row import Row
from fleet.capacity.families import nanochat
from fleet.capacity.models import model
from fleet.capacity.setup import Setup
from fleet.capacity.shape import Shape
from fleet.capacity.speed.speed import speed
from profiles.gpus import gpu

WHOLE = Path(__file__).resolve().parents[2] / "tests" / "data" / "whole_runs.csv"
REACH = 0.15


def rows(path: Path = WHOLE) -> list[Row]:
    """Every run of the file; hours of training alone, as the sources count them, and so dollars at any price."""
    with path.open(newline="", encoding="utf-8") as file:
        told = [_hours(fields) for fields in csv.DictReader(file)]
    errors = [abs(ours / theirs - 1) for _, ours, theirs, _ in told]
    return [
        Row(
            what=f"cost to finish of {len(told)} whole published runs",
            reach="within 15%",
            met=max(errors) <= REACH,
            shown=f"worst {max(errors):.1%}, {sum(error <= REACH for error in errors)} of {len(told)} within 15%",
            against_shown=f"median error {median(errors):.1%}",
            samples={f"{name}: ours, published, hours": [ours, theirs] for name, ours, theirs, _ in told},
            notes=[f"{name}: {source}" for name, _, _, source in told],
        )
    ]


def setup_of(fields: dict[str, str]) -> Setup:
    """A line of the file."""
    return Setup(
        shape=_shape(fields["model"], int(fields["length"])),
        gpu=gpu(fields["gpu"]),
        gpus=int(fields["gpus"]),
        length=int(fields["length"]),
        micro_batch=int(fields["micro_batch"]),
        accumulation=int(fields["accumulation"]),
        precision=fields["precision"],
        engine=fields["engine"],
        zero=int(fields["zero"]),
        tensor=int(fields["tensor"]),
        checkpointing=fields["checkpointing"],
        optimizer=fields["optimizer"],
        attention=fields["attention"],
        compile=fields["compile"] == "true",
    )


def _hours(fields: dict[str, str]) -> tuple[str, float, float, str]:
    setup = setup_of(fields)
    rate = speed(setup).per_gpu.value * setup.gpus
    return fields["name"], float(fields["tokens"]) / rate / 3600, float(fields["hours"]), fields["source"]


def _shape(name: str, length: int) -> Shape:
    depth = re.fullmatch(r"nanochat-d(\d+)", name)
    return nanochat(int(depth[1]), context=length, windows=True) if depth else model(name)
