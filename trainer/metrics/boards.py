"""TensorBoard and Weights & Biases: the same numbers as in the JSON lines, for those who like to look at curves.

Both are optional, and neither can stop a training: one that fails is said once and left out from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from trainer.config.schema import Metrics

OWN = {"event", "attempt", "time", "up", "step"}
TITLES = {"step": "train", "sample": "gpu"}  # event -> first part of a curve's name; the others keep theirs


class Board(Protocol):
    """Takes numbers of a step."""

    name: str

    def add(self, step: int, numbers: dict[str, float]) -> None:
        """Takes them; may raise."""

    def close(self) -> None:
        """Writes out what is left; may raise."""


class Boards:
    """Hands each JSON line's numbers on to the boards. `add` fits JsonLines(also=...), from any thread."""

    def __init__(self, boards: list[Board], say: Callable[[str], None]) -> None:
        self._boards, self._say = list(boards), say
        self._step = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """A line without a step (a GPU sample) belongs to the newest one. Never raises."""
        if not self._boards:
            return
        step = record.get("step")
        if isinstance(step, int) and not isinstance(step, bool):
            self._step = step
        event = str(record.get("event", "run"))
        values = {name: value for name, value in record.items() if name not in OWN}
        numbers = dict(flatten(values, TITLES.get(event, event)))
        if numbers:
            self._each(lambda board: board.add(self._step, numbers))

    def close(self) -> None:
        """Never raises; W&B may take up to its time limit to upload."""
        self._each(lambda board: board.close())
        self._boards = []

    def _each(self, act: Callable[[Board], None]) -> None:
        for board in list(self._boards):
            try:
                act(board)
            except Exception as error:  # other people's code, over a network: training is worth more
                self._boards.remove(board)
                self._say(f"{board.name} failed and is left out from here: {type(error).__name__}: {error}")


def flatten(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """{"mfu": {"bf16": 0.4}} under "performance" -> ("performance/mfu/bf16", 0.4); what is no number is left out."""
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield name, float(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from flatten(item, f"{name}/{key}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from flatten(item, f"{name}/{place}")


def open_boards(
    metrics: Metrics, folder: Path, config: Mapping[str, Any], first_step: int, say: Callable[[str], None]
) -> Boards:
    """The boards this run asks for, on its first rank. first_step: the step it goes on from.

    Raises TrainerError when a package, or the key of an online W&B, is missing: before a GPU second is spent.
    """
    boards: list[Board] = []
    if metrics.tensorboard:
        from trainer.metrics.tensorboard_board import TensorBoard

        boards.append(TensorBoard(folder / "tensorboard", first_step))
    if metrics.wandb != "off":
        from trainer.metrics.wandb_board import WandbBoard

        boards.append(WandbBoard(metrics.wandb, metrics.wandb_project, folder, config, say))
    return Boards(boards, say)
