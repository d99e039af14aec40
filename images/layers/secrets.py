"""Finds keys, tokens and passwords before they enter a layer, a label or the image's environment.

A finding says where and which rule, never the value. A line that only looks like a secret (a test's fixture) can be
marked with `stoker: allow-secret`; the marker is in the file, so a reviewer sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import IO

from images.layers.secret_rules import ENV_NAME, NAME_RULES, VALUES, Rule, not_placeholder
from images.layers.sources import Sources
from images.plan import Layer
from profiles.errors import Refused

ALLOW = b"stoker: allow-secret"
PIECE = 1 << 20
OVERLAP = 16 << 10  # longer than any pattern can match, so that none is lost at a seam
CODE = (".py", ".pyi", ".c", ".cc", ".cpp", ".cu", ".h", ".js", ".ts", ".go", ".rs", ".java", ".j2", ".md", ".rst")


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """path: of the file, or the name of a variable; line: counted from 1, 0 when the name itself is the finding."""

    path: str
    line: int
    rule: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} ({self.rule})" if self.line else f"{self.path} ({self.rule})"


def scan_name(path: str) -> list[Finding]:
    """The finding when files of this name hold secrets by custom (.env, id_rsa, .netrc): all that wheels are
    checked for, whose content the lock pins."""
    lower = path.lower()
    return [Finding(path, 0, rule) for rule, pattern in NAME_RULES if pattern.fullmatch(lower)][:1]


def scan_file(name: str, reader: IO[bytes]) -> list[Finding]:
    """Findings in one file, its name included. Memory stays flat; the reader is left open."""
    found = set(scan_name(name))
    code = name.lower().endswith(CODE)
    rules = [rule for rule in VALUES if rule.code or not code]
    for piece, first_line, limit in pieces(reader):
        found.update(Finding(name, line, rule) for line, rule in scan_piece(piece, first_line, limit, rules))
    return sorted(found)


def scan_text(name: str, text: str) -> list[Finding]:
    """Findings in a text in memory: a label, a rendered file."""
    import io

    return scan_file(name, io.BytesIO(text.encode("utf-8", "surrogateescape")))


def scan_env(pairs: Iterable[tuple[str, str]], where: str = "environment") -> list[Finding]:
    """Findings among environment variables or labels: a telling name with a value, or a value of a known shape."""
    found = []
    for name, value in pairs:
        raw = value.encode("utf-8", "surrogateescape")
        label = f"{where} {name}"
        if ENV_NAME.fullmatch(name.replace("-", "_").replace(".", "_")) and len(raw) >= 6 and not_placeholder(raw):
            found.append(Finding(label, 0, "value of a secret variable"))
        else:
            found += [Finding(label, 0, rule) for _, rule in scan_piece(raw, 1, len(raw) + 1, list(VALUES))][:1]
    return found


def scan_layer(layer: Layer, sources: Sources) -> list[Finding]:
    """Findings in the files of a layer, by their checkout path. Wheels are not opened here: see scan_name."""
    found: list[Finding] = []
    for one in layer.files:
        with closing(sources.open(one)) as reader:
            found += scan_file(one.source, reader)
        found += [Finding(one.target, 0, hit.rule) for hit in scan_name(one.target) if not scan_name(one.source)]
    return found


def refuse(findings: Iterable[Finding]) -> None:
    """Raises Refused naming every file, line and rule. Nothing found: nothing happens."""
    rows = sorted(set(findings))
    if not rows:
        return
    shown = ", ".join(str(row) for row in rows[:10]) + (f" and {len(rows) - 10} more" if len(rows) > 10 else "")
    raise Refused(
        f"what looks like a secret must not enter an image: {shown}",
        "take it out and pass it when the container starts; if it is none, put `stoker: allow-secret` on its line",
    )


def pieces(reader: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """(bytes, number of their first line, limit): matches that begin at or after `limit` come again next time."""
    waiting, line = b"", 1
    while True:
        fresh = reader.read(PIECE)
        waiting += fresh
        if not fresh:
            yield waiting, line, len(waiting) + 1
            return
        limit = len(waiting) - OVERLAP
        if limit > OVERLAP:
            yield waiting, line, limit
            start = limit - OVERLAP  # keep what comes before a match too: its line, and what a look-behind sees
            line += waiting.count(b"\n", 0, start)
            waiting = waiting[start:]


def scan_piece(piece: bytes, first_line: int, limit: int, rules: list[Rule]) -> Iterator[tuple[int, str]]:
    """(line, rule) of every plausible match that begins before `limit`, but for marked lines."""
    lower = piece.lower()
    for rule in rules:
        if rule.needle not in lower:
            continue
        for match in rule.pattern.finditer(lower if rule.folded else piece):
            if match.start() >= limit or not rule.plausible(piece[match.start(1) : match.end(1)]):
                continue
            begin = piece.rfind(b"\n", 0, match.start(1)) + 1
            end = piece.find(b"\n", match.start(1))
            if ALLOW not in piece[begin : end if end >= 0 else None]:
                yield first_line + piece.count(b"\n", 0, match.start(1)), rule.name
