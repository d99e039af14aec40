"""Our clock against the provider's: a run's deadline is a moment, and the machine that keeps it has its own clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fleet.clock import VARIABLE, Clock
from fleet.loopback import LOOPBACK
from fleet.wire.line import AGENT, BASES, base
from profiles.errors import Refused

if TYPE_CHECKING:
    import requests

MOST = timedelta(minutes=5)  # off by more, a machine would end its run too early, or bill on after its limit
WAIT = 3.0  # seconds for the answer; without one nothing is concluded


def refuse(provider: str, clock: Clock, environ: Mapping[str, str]) -> None:
    """Raises Refused when our clock is off by more than MOST. Asks nothing of a simulator, whose time is its own, and
    concludes nothing from an answer that tells no time."""
    if provider not in BASES or environ.get(VARIABLE, "").strip():
        return
    url = base(provider, environ)
    if urlsplit(url).hostname in LOOPBACK:
        return
    off = ahead(url, clock)
    if off is None or abs(off) <= MOST:
        return
    hours, minutes = divmod(round(abs(off).total_seconds() / 60), 60)
    where = "behind" if off > timedelta(0) else "ahead of"
    raise Refused(
        f"this machine's clock is {hours} h {minutes} min {where} {provider}'s: the run would end at the wrong time",
        "set the clock (timedatectl set-ntp true), then the same command again",
    )


def ahead(url: str, clock: Clock) -> timedelta | None:
    """By how much the server's clock is ahead of ours, by the Date of its answer (RFC 9110 6.6.1), whatever it answers;
    None when that cannot be told. No key and no login is sent."""
    import requests

    before = clock.now()
    try:
        answer = requests.head(
            url, headers={"User-Agent": AGENT}, auth=without_login, timeout=(WAIT, WAIT), allow_redirects=False
        )
    except requests.RequestException:
        return None
    after, told = clock.now(), moment(answer.headers.get("Date", ""))
    if told is None or answer.headers.get("Age", "0").strip() != "0":  # a cache repeats an old one
        return None
    return told - after if told > after else min(timedelta(0), told + timedelta(seconds=1) - before)


def without_login(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """As it is: without an `auth` of ours, requests would send a login of ~/.netrc."""
    return request


def moment(text: str) -> datetime | None:
    """A Date of HTTP, None when it cannot be read."""
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
