"""A container's variables as `docker run` takes them without any on its command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from profiles.errors import WrongInput

LONGEST = 60_000  # characters: Docker reads a line of at most 64 KiB of an --env-file
# The `docker` program itself would obey these; one of several lines goes through its own environment.
ITS_OWN = re.compile(r"(DOCKER|LD|BUILDKIT|XDG)_.*|PATH|HOME|IFS|ENV|PS\d")


def parts(variables: Mapping[str, str]) -> tuple[bytes, bytes, list[str]]:
    """(--env-file, shell exports, names for `--env NAME`). A value with a line break fits into no --env-file: it goes
    by the environment of the `docker` program. Raises WrongInput for a name or a value that no process can have."""
    lines, exports, names = [], [], []
    for name, value in variables.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise WrongInput(f"no name of a variable: {name!r}", "letters, digits and _, no digit first")
        if "\0" in value:
            raise WrongInput(f"{name} holds a zero byte, which no variable can", "give it in a file of the run's")
        if not re.search(r"[\r\n]", value) and len(value) <= LONGEST:
            lines.append(f"{name}={value}\n")
        elif ITS_OWN.fullmatch(name):
            raise WrongInput(f"{name} cannot have several lines on a rented machine", "give it one line")
        else:
            exports.append(f"export {name}={shlex.quote(value)}\n")
            names.append(name)
    return "".join(lines).encode(), "".join(exports).encode(), names
