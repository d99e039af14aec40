"""A pod's log as Server-Sent Events that never end by themselves (providers.md 1.9)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from fleet.simulators.machine import Machine
from fleet.simulators.runpod.life import Lives
from fleet.simulators.runpod.problems import invalid
from fleet.simulators.wire import Reply, Request

LOOK = 0.1  # real seconds between two looks for new lines
HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
Entry = tuple[datetime, str, str]  # when, source, line


def stream(lives: Lives, pod: Machine, request: Request) -> Reply:
    """The open stream. Raises Refused (422) for a parameter that makes no sense."""
    query = request.query
    source = query.get("source", "")
    tail = query.get("tail", "100")
    wrong = []
    if source not in ("", "container", "system"):
        wrong.append("$.source: value must be one of 'container', 'system'")
    if not tail.isdecimal() or int(tail) > 5000:
        wrong.append("$.tail: must be between 0 and 5000 (wording invented)")
    since = _moment(query.get("since", ""))
    if "since" in query and since is None:
        wrong.append("$.since: not a date-time (wording invented)")
    if wrong:
        raise invalid(wrong)
    lives.take_lines(pod)
    start = _start(pod.facts["log"], source, request.headers.get("last-event-id", ""), since, int(tail))
    cut = lives.world.faults.take("log_stream_cut")
    return Reply(200, headers=dict(HEADERS), stream=_events(lives, pod, source, start, cut))


def _start(log: list[Entry], source: str, last: str, since: datetime | None, tail: int) -> int:
    """The first entry to send: Last-Event-ID beats since beats tail."""
    if last:
        counter = last.rpartition("/")[2]
        if "/" in last and counter.isdecimal():
            return int(counter) + 1
        since = _moment(last) or since
    if since is not None:
        return next((at for at, entry in enumerate(log) if entry[0] > since), len(log))
    mine = [at for at, entry in enumerate(log) if source in ("", entry[1])]
    return mine[-tail] if 0 < tail <= len(mine) else (0 if tail else len(log))


def _events(lives: Lives, pod: Machine, source: str, at: int, cut: dict[str, Any] | None) -> Iterator[bytes]:
    """`log_stream_cut` {"events": n} ends it in the middle of the event after n."""
    sent = 0
    while True:
        with lives.world.lock:
            fresh: list[Entry] = pod.facts["log"][at:]
        for offset, entry in enumerate(fresh):
            if source not in ("", entry[1]):
                continue
            event = _event(at + offset, entry)
            if cut is not None and sent >= int(cut.get("events", 0)):
                yield event[: len(event) // 2]
                return
            yield event
            sent += 1
        at += len(fresh)
        if not fresh:
            yield b""
            time.sleep(LOOK)
        if pod.body is not None and lives.world.bodies.real:
            lives.take_lines(pod)


def _event(number: int, entry: Entry) -> bytes:
    when = entry[0].strftime("%Y-%m-%dT%H:%M:%SZ")
    data = json.dumps({"ts": when, "source": entry[1], "line": entry[2]}, separators=(",", ":"))
    return f"id: {when}/{number:012d}\ndata: {data}\n\n".encode()


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
