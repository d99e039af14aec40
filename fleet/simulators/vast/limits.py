"""Minimum intervals between two calls of one caller to one endpoint (providers.md 2.1), in virtual time."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

SECONDS = {
    **dict.fromkeys(("list", "manage", "reboot", "recycle", "ssh_write", "charges"), 1.0),
    **{"execute": 1.5, "show": 2.0, "ssh_detach": 2.0, "prepay": 2.0},
    **dict.fromkeys(("destroy", "template_search", "secrets_write", "invoices", "deposit"), 3.0),
    **{"asks": 4.5, "secrets_list": 5.0, "bid_price": 5.5, "volumes": 5.5},
}
PENALTY = {"asks": 12.0}  # how it works is unknown: a call too early moves the next one away by so much (invented)
SEARCHES, WINDOW = 10, 60.0  # per minute and address

# method, path without slashes at the end -> endpoint; the first that fits
ENDPOINTS = tuple(
    (method, re.compile(path), name)
    for method, path, name in (
        ("POST", r"/api/v0/bundles", "bundles"),
        ("PUT", r"/api/v0/search/asks", "bundles"),
        ("PUT|POST", r"/api/v0/asks/[^/]+", "asks"),
        ("GET", r"/api/v1/instances", "list"),
        ("GET", r"/api/v0/instances/balance/[^/]+", "deposit"),
        ("GET", r"/api/v0/instances/\d+", "show"),
        ("PUT", r"/api/v0/instances(/\d+)?", "manage"),
        ("DELETE", r"/api/v0/instances/[^/]+/ssh/[^/]+", "ssh_detach"),
        ("DELETE", r"/api/v0/instances(/[^/]+)?", "destroy"),
        ("PUT", r"/api/v0/instances/bid_price/[^/]+", "bid_price"),
        ("PUT", r"/api/v0/instances/command/[^/]+", "execute"),
        ("PUT", r"/api/v0/instances/reboot/[^/]+", "reboot"),
        ("PUT", r"/api/v0/instances/recycle/[^/]+", "recycle"),
        ("PUT", r"/api/v0/instances/prepay/[^/]+", "prepay"),
        ("GET", r"/api/v0/template", "template_search"),
        ("POST|PUT", r"/api/v0/ssh(/\d+)?", "ssh_write"),
        ("GET", r"/api/v0/secrets", "secrets_list"),
        (".*", r"/api/v0/secrets", "secrets_write"),
        (".*", r"/api/v0/volumes(/search)?", "volumes"),
        ("GET", r"/api/v0/charges", "charges"),
        ("GET", r"/api/v1/invoices", "invoices"),
    )
)


def endpoint(method: str, path: str) -> str:
    """The endpoint that limits and key errors go by; "" for one without any."""
    short = path.rstrip("/")
    for methods, pattern, name in ENDPOINTS:
        if re.fullmatch(methods, method) and pattern.fullmatch(short):
            return name
    return ""


@dataclass
class Limits:
    """When each caller may call again. on: switchable, as everything here."""

    on: bool = True
    next: dict[tuple[str, str], float] = field(default_factory=dict)
    searches: dict[str, list[float]] = field(default_factory=dict)

    def early(self, name: str, caller: str, now: float) -> float | None:
        """The threshold that a call now breaks, or None: then it counts."""
        if not self.on or not name:
            return None
        if name == "bundles":
            recent = [at for at in self.searches.get(caller, []) if at > now - WINDOW]
            self.searches[caller] = recent if len(recent) >= SEARCHES else [*recent, now]
            return WINDOW / SEARCHES if len(recent) >= SEARCHES else None
        gap = SECONDS.get(name)
        if gap is None:
            return None
        if now < self.next.get((name, caller), float("-inf")):
            if name in PENALTY:
                self.next[name, caller] = now + PENALTY[name]
            return gap
        self.next[name, caller] = now + gap
        return None
