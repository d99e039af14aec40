"""A yes from a person before money is spent or something is ended."""

from __future__ import annotations

import sys

from profiles.errors import Refused


def agreed(
    question: str,
    yes: bool,
    *,
    alone: str = "",
    flags: str = "--yes",
    refused: str = "nothing was done",
    step: str = "answer y, or --yes",
) -> None:
    """Raises Refused without --yes and without a y. alone: said for `question` when nobody is there to be asked, with
    the `flags` that help; refused, step: after a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        told = alone or question
        raise Refused(f"{told}{'' if told.endswith((' and', '?')) else ';'} nobody is here to say yes", flags)
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    try:
        said = input()
    except EOFError:
        said = ""
    if said.strip().lower() not in ("y", "yes"):
        raise Refused(refused, step)
