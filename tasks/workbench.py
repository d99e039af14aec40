"""What tasks work on: the workbench of this checkout, and the profiles that were named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from images.workbench import Workbench

ROOT = Path(__file__).resolve().parents[1]


def bench(json: bool, **flags: str) -> Workbench:
    """The workbench of this checkout; with --json nothing but the document is printed."""
    from images.progress import for_stream
    from images.workbench import open_workbench

    return open_workbench(ROOT, for_stream(quiet=json), **flags)


def default(work: Workbench) -> str:
    """The profile of stoker.yaml or STOKER_PROFILE. Raises WrongInput without one."""
    from profiles.errors import WrongInput

    if name := work.settings.get("profile"):
        return name
    raise WrongInput("no profile named", "--profile NAME; ./inv profiles lists them")


def one_or_more(named: list[str], work: Workbench) -> list[str]:
    """The profiles a task works on."""
    return [part for name in named for part in name.split(",")] or [default(work)]
