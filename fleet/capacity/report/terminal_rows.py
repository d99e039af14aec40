"""The pieces that every part of the terminal report is made of: headings, names with values, ranges, bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from profiles.gpus import Gpu

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

LABEL = 13  # columns of the names at the left
STYLES = {"fits": "green", "tight": "yellow", "dear": "yellow"}  # of verdicts; the others are red
MARKS = ("NVIDIA ", "GeForce ", " Generation", " Server Edition")  # said by every or by one card's name only


def title(name: str, style: str = "", aside: str = "") -> Text:
    """A heading with a blank line above; aside: a remark behind it."""
    from rich.text import Text

    return Text.assemble("\n", (name, f"bold {style}".strip()), (f"  {aside}" if aside else "", "dim"))


def pairs(rows: Sequence[tuple[str, str | Text]]) -> Table:
    """Names and what they are, wrapped beside the name."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=LABEL, no_wrap=True, style="dim")
    grid.add_column()
    for name, value in rows:
        grid.add_row(f" {name}", Text(value) if isinstance(value, str) else value)
    return grid


def card(gpu: Gpu) -> str:
    """A GPU's name without what all of them share."""
    name = gpu.name
    for mark in MARKS:
        name = name.replace(mark, "")
    return name


def gb(value: float) -> str:
    """Bytes as a number of GB (10^9): one decimal, two digits below 0.1, none after the point from 1000 on."""
    number = value / 1e9
    return (
        f"{number:.2g}" if 1e-4 < abs(number) < 0.095 else f"{number:.1f}" if abs(number) < 999.95 else f"{number:,.0f}"
    )


def bar(share: float, width: int, block: str) -> str:
    """A bar of `share` of `width`, at least one character for what is not nothing."""
    return block * (max(1, round(min(1.0, share) * width)) if share > 0 else 0)
