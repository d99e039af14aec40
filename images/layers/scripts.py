"""Console scripts of wheels: written for any interpreter, because the layer does not know which one the base has."""

from __future__ import annotations

import configparser
import re

from profiles.errors import WrongInput

SHEBANG = b"#!/usr/bin/env python3\n"
NAME = re.compile(r"[\w.-]+")  # entry points specification: letters, numbers, underscores, dots, dashes
REFERENCE = re.compile(r"(?P<module>[\w.]+)\s*:\s*(?P<attribute>[\w.]+)\s*(\[.*\])?")
BODY = """{shebang}import sys

from {module} import {first}

if __name__ == "__main__":
    sys.argv[0] = sys.argv[0].removesuffix(".exe")
    sys.exit({attribute}())
"""


class CaseSensitive(configparser.ConfigParser):
    """Names of entry points are case-sensitive."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def own_shebang(data: bytes) -> bytes:
    """PEP 427: a script that begins with exactly `#!python` (or `#!pythonw`) gets the installer's interpreter."""
    line, newline, rest = data.partition(b"\n")
    return SHEBANG + rest if newline and re.match(rb"#!pythonw?\b", line) else data


def entry_points(text: str, wheel: str) -> dict[str, str]:
    """Script name -> its text, for the console and GUI scripts of an entry_points.txt. Raises WrongInput."""
    parser = CaseSensitive(delimiters=("=",), interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        raise WrongInput(f"{wheel}: entry_points.txt cannot be read", "lock another version of it") from None
    found = {}
    for group in ("console_scripts", "gui_scripts"):
        for name, value in parser.items(group) if parser.has_section(group) else ():
            reference = REFERENCE.fullmatch(value.strip())
            if not NAME.fullmatch(name) or name in (".", "..") or reference is None:
                raise WrongInput(f"{wheel}: unusable script {name[:60]!r} in entry_points.txt", "lock another version")
            attribute = reference["attribute"]
            found[name] = BODY.format(
                shebang=SHEBANG.decode(),
                module=reference["module"],
                first=attribute.partition(".")[0],
                attribute=attribute,
            )
    return found
