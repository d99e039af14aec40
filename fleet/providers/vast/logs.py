"""Logs of a container: Vast puts them into a file somewhere else and tells where (providers.md 2.6).

That address is asked WITHOUT our key (0.4), and is signed: it stands in no message.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fleet.clock import Clock
from fleet.loopback import LOOPBACK
from fleet.providers.vast.answers import PROVIDER, agreed, gone
from fleet.wire.failed import ProviderFailed
from fleet.wire.line import AGENT, Line

if TYPE_CHECKING:
    import requests

TRIES, PAUSE = 30, 0.3  # the official client's: the file comes a little later than its address (2.6)
LARGEST = 16 << 20  # bytes
LONGEST = 60.0  # seconds
BETWEEN = 10.0  # seconds between two looks while following
WINDOW = 1000  # lines that a following look asks for at least: what came in between must fit
STEERING = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)")


def lines(line: Line, clock: Clock, id: str, tail: int) -> list[str]:
    """The last `tail` lines. Raises ProviderFailed."""
    path = f"/api/v0/instances/request_logs/{id}/"
    answer = agreed(line.change("PUT", path, {"tail": str(max(1, tail))}), "the logs")
    url = answer.get("result_url")
    if not isinstance(url, str) or not url:
        raise ProviderFailed(PROVIDER, "no logs yet", "ask again in a minute")
    content = fetched(url, clock).decode("utf-8", "replace")
    return [shown(each) for each in content.splitlines()][-tail:]


def followed(line: Line, clock: Clock, id: str, tail: int) -> Iterator[str]:
    """`lines`, then what is new every few seconds, until the instance is gone."""
    seen: list[str] = []
    wanted = tail
    while True:
        try:
            found = lines(line, clock, id, wanted)
        except ProviderFailed as failed:
            if gone(failed):
                return
            raise
        yield from found[overlap(seen, found) :]
        seen, wanted = found, max(tail, WINDOW)
        clock.sleep(BETWEEN)


def overlap(before: list[str], now: list[str]) -> int:
    """How many lines at the start of `now` were seen: the longest end of `before` that `now` starts with, or holds.

    A later look may reach further back than the first did: then the whole of `before` stands somewhere inside.
    """
    if not before:
        return 0
    for start in range(len(now) - len(before), 0, -1):
        if now[start : start + len(before)] == before:
            return start + len(before)
    for length in range(min(len(before), len(now)), 0, -1):
        if before[-length:] == now[:length]:
            return length
    return 0


def fetched(url: str, clock: Clock) -> bytes:
    """What the file holds, as soon as it is there. Raises ProviderFailed."""
    import requests

    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise ProviderFailed(PROVIDER, "logs at an address that is none", "ask again")
    for attempt in range(1, TRIES + 1):
        try:
            with asked(url) as answer:
                if answer.status_code == 200:
                    return bounded(answer)
                if answer.status_code not in (403, 404, 429) and answer.status_code < 500:
                    raise ProviderFailed(PROVIDER, f"the logs' file answers {answer.status_code}", "ask again")
        except requests.RequestException as broken:  # its text holds the whole address
            if attempt == TRIES:
                kind = type(broken).__name__
                raise ProviderFailed(PROVIDER, f"no connection to the logs' file ({kind})", "ask again") from None
        if attempt < TRIES:
            clock.sleep(PAUSE)
    raise ProviderFailed(PROVIDER, "the logs did not come", "ask again in a minute")


def asked(url: str) -> requests.Response:
    """One look without any login: not our key, and none of ~/.netrc."""
    import requests

    def nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.pop("Authorization", None)
        return request

    proxies = {"http": "", "https": ""} if urlsplit(url).hostname in LOOPBACK else None
    headers = {"User-Agent": AGENT, "Accept": "*/*"}
    more: dict[str, Any] = {"timeout": (5.0, 15.0), "allow_redirects": False, "stream": True}
    return requests.get(url, headers=headers, auth=nobody, proxies=proxies, **more)


def bounded(answer: requests.Response) -> bytes:
    """The whole of it, when that is not too much."""
    content, end = bytearray(), time.monotonic() + LONGEST
    for piece in answer.iter_content(64 << 10):
        content += piece
        if time.monotonic() > end:  # a byte now and then never runs into the read timeout
            raise ProviderFailed(PROVIDER, "the logs come too slowly", "ask for fewer lines")
        if len(content) > LARGEST:
            raise ProviderFailed(PROVIDER, f"more than {LARGEST >> 20} MiB of logs", "ask for fewer lines")
    return bytes(content)


def shown(line: str) -> str:
    """A line without what would steer a terminal."""
    return "".join(letter for letter in STEERING.sub("", line) if letter.isprintable() or letter == "\t")
