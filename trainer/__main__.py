"""`python -m trainer`: a GPT trainer. `python -m trainer COMMAND --help` says more of each command.

An outer smoke test (`inv smoke`) uses, in containers that share one mounted folder:

    python3 -m trainer environment
    python3 -m trainer train --run /mnt/whole  --steps 40 --save-every 10
    python3 -m trainer train --run /mnt/broken --steps 40 --save-every 10   # docker kill -s KILL at step 25
    python3 -m trainer train --run /mnt/broken --steps 40 --save-every 10   # resumes at step 20
    then the loss of each step in both folders must be the same number (trainer/run/folder.py: losses); on a GPU profile
    with the small model of trainer/run/smoke.py: SMALL as --set flags
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback

from trainer.errors import OUTSIDE_FAILED, STOPPED_EARLY, TrainerError
from trainer.run import interrupt

STORY = """A GPT trainer. `python -m trainer COMMAND --help` says more of each command.

    python -m trainer data prepare corpus --out data/corpus --tokenizer bytes
    python -m trainer train --preset tiny --data data/corpus --run runs/first
    python -m trainer sample runs/first --prompt "In the beginning"

Results go to standard output, words to standard error. Exit codes: 0 done, 1 the answer is no, 2 wrong input,
3 something outside failed, 4 refused for safety, 75 stopped early: the same command goes on.
"""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    try:
        return _main(arguments)
    except KeyboardInterrupt:
        exec("")  # one that left an exec() (dataclasses use it) makes CPython die of SIGINT at its exit, until the next
        print("trainer: stopped", "the same command does it again", sep="\n  -> ", file=sys.stderr)
        return STOPPED_EARLY


def _main(arguments: list[str] | None) -> int:
    from trainer.commands import COMMANDS

    parser = argparse.ArgumentParser(
        prog="python -m trainer", description=STORY, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.register(commands)
    options, rest = parser.parse_known_args(arguments)
    if rest and not getattr(options, "takes_rest", False):
        parser.error(f"unknown arguments: {' '.join(rest)}; see python -m trainer {options.command} --help")
    options.rest = rest
    try:
        code = int(options.act(options))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `... | head` has seen enough; Python would complain again at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except TrainerError as error:
        print(f"trainer: {error.what}", *filter(None, [error.next_step]), sep="\n  -> ", file=sys.stderr)
        return error.exit_code
    except Exception:  # a CUDA error, a bug: not the 1 of Python's own, which says that the answer is no
        traceback.print_exc()
        return OUTSIDE_FAILED


if __name__ == "__main__":
    interrupt.install()
    sys.exit(main())
