"""The checkpoint tasks: the trainer's own `checkpoints`, in this process, with the tasks' errors and exit codes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from invoke.exceptions import Exit

from cli.program import traceback_wanted


class Parser(argparse.ArgumentParser):
    """Wrong values end in two lines, as everywhere."""

    def error(self, message: str) -> NoReturn:
        part = self.prog.split()[-1]
        raise Exit(f"error: {message}\n  next: ./inv --help checkpoints.{part} shows the options", 2)


def act(part: str, *words: str, **flags: str | bool) -> None:
    """Runs `checkpoints PART WORDS --flag value ...`; a flag that is empty or False is left out.

    Raises Exit with the trainer's exit code unless it is 0, with its line and next step when it failed.
    """
    from trainer.commands import checkpoints
    from trainer.errors import TrainerError

    parser = Parser(prog="./inv", add_help=False)
    checkpoints.register(parser.add_subparsers())
    options = parser.parse_args(["checkpoints", part, *given(words, flags)])
    try:
        code = int(options.act(options))
    except TrainerError as error:
        traceback_wanted()
        hint = f"\n  next: {error.next_step}" if error.next_step else ""
        raise Exit(f"error: {error.what}{hint}", error.exit_code) from None
    if code:
        raise Exit("", code)


def given(words: Sequence[str], flags: dict[str, str | bool]) -> list[str]:
    """The words and flags as a command line has them. `--flag=value`, since a value may begin with a dash."""
    said = []
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            said.append(flag)
        elif value:
            said.append(f"{flag}={value}")
    return [*words, *said]
