"""Whole published runs: hours and dollars to finish, the setup known, the rate not given."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from statistics import median

from bench.rows.cells import columns, given, number, whole
from bench.rows.row import Row
from fleet.capacity.families import nanochat
from fleet.capacity.memory.engines import engine_of
from fleet.capacity.models import model
from fleet.capacity.setup import Setup
from fleet.capacity.shape import Shape
from fleet.capacity.speed.speed import speed
from profiles.errors import WrongInput
from profiles.gpus import gpu

WHOLE = Path(__file__).resolve().parents[2] / "tests" / "data" / "whole_runs.csv"
REACH = 0.15
COLUMNS = (
    *("name", "model", "gpu", "gpus", "precision", "engine", "zero", "tensor", "optimizer", "attention"),
    *("checkpointing", "compile", "length", "micro_batch", "accumulation", "tokens", "hours"),
)
CAVEATS = (
    "nanochat run 1: its tokens are derived from its own rate, about 100k tokens/s per GPU: that is all it tests",
    "LLaMA: how its runs were laid out is not published: checkpointing, sharding and micro-batch are assumed in all of "
    "them, the number of GPUs in all but 65B",
)


def rows(path: Path = WHOLE) -> list[Row]:
    """Every run of the file; hours of training alone, as the sources count them, and so dollars at any price.
    Raises WrongInput for a file of other columns."""
    told, left_out = [], []
    for fields in runs(path):
        try:
            told.append(_hours(fields))
        except WrongInput as error:
            left_out.append(f"not modelled: {fields['name']}: {error.what}")
    errors = [abs(ours / theirs - 1) for _, ours, theirs, _ in told]
    near = sum(error <= REACH for error in errors)
    return [
        Row(
            what=f"cost to finish of {len(told)} whole published runs",
            reach="within 15%",
            met=max(errors) <= REACH if told else None,
            shown=f"worst {max(errors):.1%}, {near} of {len(told)} within 15%" if told else "no rows",
            against_shown=f"median error {median(errors):.1%}" if told else "-",
            samples={f"{name}: ours, published, hours": [ours, theirs] for name, ours, theirs, _ in told},
            notes=[
                *(f"{name}: {source}" for name, _, _, source in told),
                *left_out,
                *(CAVEATS if path.resolve() == WHOLE else ()),
            ],
        )
    ]


def runs(path: Path = WHOLE) -> list[dict[str, str]]:
    """The lines of the file. Raises WrongInput for a file of other columns."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns(path.name, reader.fieldnames, COLUMNS)
        return [{key: value or "" for key, value in fields.items() if key} for fields in reader]


def setup_of(fields: dict[str, str]) -> Setup:
    """A line of the file. Raises WrongInput for a cell that is empty or says what the planner has no word for."""
    length = _count(fields, "length")
    compiled = given(fields, "compile").lower()
    if compiled not in ("true", "false"):
        raise WrongInput(f"`compile` is `{compiled}`", "say true or false")
    return Setup(
        shape=_shape(given(fields, "model"), length),
        gpu=gpu(given(fields, "gpu")),
        gpus=_count(fields, "gpus"),
        length=length,
        micro_batch=_count(fields, "micro_batch"),
        accumulation=_count(fields, "accumulation"),
        precision=given(fields, "precision"),
        engine=given(fields, "engine"),
        zero=_stage(fields),
        tensor=_count(fields, "tensor"),
        checkpointing=given(fields, "checkpointing"),
        optimizer=given(fields, "optimizer"),
        attention=given(fields, "attention"),
        compile=compiled == "true",
    )


def _hours(fields: dict[str, str]) -> tuple[str, float, float, str]:
    setup = setup_of(fields)
    engine_of(setup)  # the rate alone would not notice an unknown one
    tokens, hours = number(given(fields, "tokens")), number(given(fields, "hours"))
    if tokens is None or hours is None:
        raise WrongInput("its tokens or its hours are not published", "give both")
    return fields["name"], tokens / (speed(setup).per_gpu.value * setup.gpus) / 3600, hours, fields.get("source", "")


def _count(fields: dict[str, str], column: str) -> int:
    value = whole(given(fields, column))
    if value is None:
        raise WrongInput(f"`{column}` is not published", "give a number")
    return value


def _stage(fields: dict[str, str]) -> int:
    said = given(fields, "zero")
    if said not in ("0", "1", "2", "3"):
        raise WrongInput(f"`zero` is `{said}`", "say 0, 1, 2 or 3")
    return int(said)


def _shape(name: str, length: int) -> Shape:
    depth = re.fullmatch(r"nanochat-d(\d+)", name)
    return nanochat(int(depth[1]), context=length, windows=True) if depth else model(name)
