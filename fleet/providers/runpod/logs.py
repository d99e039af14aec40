"""A pod's output: Server-Sent Events that never end by themselves (providers.md 1.9)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from fleet.wire import fields
from fleet.wire.failed import KeyRefused, ProviderFailed
from fleet.wire.line import SILENCE, Line

MOST_TAIL = 5000
LONGEST = 16 << 10  # characters of one line of output
QUIET = 3.0  # seconds without a line, after which what was there has been read
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
CUTS = 2  # times that reading what is there goes on after a cut
BROKEN = 5  # times in a row that following may fail
PAUSES = (1.0, 2.0, 5.0, 10.0)  # seconds before looking again, the longer the longer nothing came


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the stream. id: opaque, for going on after it; time: as it was sent."""

    id: str
    line: str
    time: str = ""


def lines(
    line: Line, id: str, tail: int, follow: bool, ended: Callable[[], bool], sleep: Callable[[float], None]
) -> Iterator[str]:
    """The pod's last `tail` lines, newest last; with `follow` also those to come, until `ended()`.

    A stream that is cut goes on after the last whole event. Raises ProviderFailed when it cannot be had.
    """
    path, last, since = f"/v2/pods/{quote(id, safe='')}/logs", "", ""
    quiet = broken = cuts = 0
    while True:
        query = {} if last else {"since": since} if since else {"tail": str(min(max(tail, 0), MOST_TAIL))}
        before, heard = (last, since), time.monotonic()
        try:
            for event in events(line.lines(path, query, last, SILENCE if follow else QUIET)):
                heard = time.monotonic()
                if event.id and event.id == last:
                    continue  # resumes from it, so it may come again
                last, since = event.id or last, event.time or since
                yield event.line
            broken = 0
        except ProviderFailed as failure:
            broken += 1
            if not follow or isinstance(failure, KeyRefused) or failure.status == 404 or broken == BROKEN:
                raise
        if not follow:
            cuts += 1
            if cuts > CUTS or time.monotonic() - heard >= QUIET:
                return
            continue  # ended before it was silent: cut, and there may be more
        if ended():
            return
        quiet = 0 if (last, since) != before else quiet + 1
        sleep(PAUSES[min(quiet, len(PAUSES) - 1)])


def events(stream: Iterable[str]) -> Iterator[Event]:
    """Whole events; one that is cut off before its blank line is dropped, and comes again with the next stream."""
    id, data = "", list[str]()
    for written in stream:
        if not written:
            if data:
                yield read(id, "\n".join(data))
            data = []
            continue
        name, _, value = written.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "id":
            # it goes back as a header
            id = value if len(value) <= 200 and all(" " <= letter <= "~" for letter in value) else ""


def read(id: str, data: str) -> Event:
    """The event of its data: {"ts", "source", "line"}, or any text; what the system says is marked so."""
    try:
        row = json.loads(data)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not isinstance(row.get("line"), str):
        return Event(id, clean(data))
    mark = "[runpod] " if fields.text(row, "source") == "system" else ""
    return Event(id, mark + clean(row["line"]), fields.text(row, "ts"))


def clean(written: str) -> str:
    """A line that steers no terminal."""
    plain = COLOURS.sub("", written[:LONGEST]).rstrip("\r\n")
    return "".join(letter for letter in plain if letter.isprintable() or letter == "\t")
