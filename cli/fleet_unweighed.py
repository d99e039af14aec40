"""`offers --gpu` where no profile says what trains: what is typed of a training would mean nothing, and is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.fleet_flags import MODEL, Asked
from cli.fleet_market import profile_of
from profiles.errors import WrongInput

if TYPE_CHECKING:
    from images.workbench import Workbench

# `--any-gpu` asks for what the same image runs on, and --profile is what is missing.
WEIGHED = (*(name for name in MODEL if name != "profile"), "any-gpu")


def refuse_unweighed(asked: Asked, work: Workbench) -> None:
    """Raises WrongInput for flags of the training beside GPUs alone: no offer could be told by its dollars to finish.

    With a profile, named or found, they are weighed.
    """
    typed = [f"--{name}" for name in WEIGHED if getattr(asked, name.replace("-", "_"))]
    if not typed or profile_of(asked, work) is not None:
        return
    one = len(typed) == 1
    raise WrongInput(
        f"without a profile no training is weighed, so {' and '.join(typed)} {'means' if one else 'mean'} nothing",
        f"add --profile NAME, or leave {'it' if one else 'them'} out; ./inv plan weighs models without a profile",
    )
