#!/usr/bin/env python3
"""end-instance: ends the machine it runs on, by what its provider put into it. end-instance --how: says how, no more.

It tries once and prints one line: `taken: ...` (the provider will end it), `again: ...` (not this time), `none: ...`
(no way from in here), with --how `way: ...` or `none: ...`. It ends no other machine: the id is the provider's own
variable, and a lent key (Hyperbolic) is used only when the rental of that id has our tag. No key is ever printed.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

AGENT = "stoker/0.1"  # Hyperbolic's edge refuses the default one (providers.md 0.3)
SECONDS = 20.0  # to connect, and without a byte
LARGEST = 8 << 20  # bytes of an answer
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TAKEN, REFUSED, UNSURE = "taken", "refused", "unsure"


class NoWay(Exception):
    """This machine cannot be ended from in here."""


def told(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Our environment, and below it that of process 1: a log-in by ssh lacks what the container was started with."""
    found: dict[str, str] = {}
    with suppress(OSError):
        content = Path(environ.get("STOKER_INIT_ENVIRON", "/proc/1/environ")).read_bytes()
        entries = (entry.decode(errors="replace").partition("=") for entry in content.split(b"\0"))
        found = {name: value for name, equals, value in entries if equals}
    return {**found, **{name: value for name, value in environ.items() if value}}


class Line:
    """The provider. STOKER_PROVIDER_URL moves it, to https or this machine only; no redirect is followed."""

    def __init__(self, environ: Mapping[str, str], url: str, key: str, name: str) -> None:
        if not re.fullmatch(r"[!-~]+", key):
            raise NoWay(f"no key: {name}")
        self.parts, self._key = urlsplit((environ.get("STOKER_PROVIDER_URL") or url).rstrip("/")), key
        https, here, _ = self.parts.scheme == "https", self.parts.hostname in LOOPBACK, self.parts.port
        if not self.parts.hostname or not (https or (here and self.parts.scheme == "http")):
            raise NoWay("STOKER_PROVIDER_URL is neither https nor on this machine")

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any, str]:
        """(status, JSON or None, the answer's words); status 0: no answer, and the words say why."""
        headers = {"Authorization": f"Bearer {self._key}", "User-Agent": AGENT, "Accept": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        host, port = self.parts.hostname or "", self.parts.port
        line = http.client.HTTPConnection(host, port, timeout=SECONDS)
        if self.parts.scheme == "https":
            line = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=trusted())
        try:
            line.request(method, self.parts.path + path, data, headers)
            answer = line.getresponse()
            content = answer.read(LARGEST)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return 0, None, f"no answer ({type(error).__name__})"
        finally:
            line.close()
        value = None
        with suppress(ValueError, RecursionError):
            value = json.loads(content)
        text = " ".join(content.decode("utf-8", "replace").split())[:160].replace(self._key, "***")
        return answer.status, value, "".join(letter for letter in text if letter.isprintable())


def trusted() -> ssl.SSLContext:
    """The system's certificates; those of `certifi` where a slim image has none."""
    context = ssl.create_default_context()
    if not context.cert_store_stats()["x509_ca"] and not Path(ssl.get_default_verify_paths().capath or "").is_dir():
        with suppress(ImportError, OSError):
            import certifi

            context.load_verify_locations(certifi.where())
    return context


def judged(status: int) -> str:
    """What an answer to a call that ends something means. 404 is a refusal: we are still here to read it."""
    if 200 <= status < 300:
        return TAKEN
    return REFUSED if 400 <= status < 500 and status not in (408, 425, 429) else UNSURE


class Way:
    """How one machine is ended: the line, the calls, each for when the one before it was refused, and its name."""

    def __init__(self, words: str, line: Line, calls: list[tuple[str, str, object]]) -> None:
        self.words, self.line, self.calls = words, line, calls


def runpod(environ: Mapping[str, str]) -> Way:
    """providers.md 1.9, 1.13. Whether the pod's own key may delete its pod is not known (question 12), so other calls
    follow a refusal: the action, the GraphQL mutation (1.15), and in the end the stop, after which only disks bill."""
    id = plain(environ, "RUNPOD_POD_ID", r"[A-Za-z0-9_-]{1,64}")
    line = Line(environ, "https://api.runpod.io", environ.get("RUNPOD_API_KEY", ""), "RUNPOD_API_KEY")
    pod, mutation = f"/v2/pods/{id}", f'mutation {{ podTerminate(input: {{podId: "{id}"}}) }}'
    terminate, stop = ({"action": action} for action in ("terminate", "stop"))
    other = [("POST", f"{pod}/action", terminate), ("POST", "/graphql", {"query": mutation})]
    return Way(f"runpod pod {id}", line, [("DELETE", pod, None), *other, ("POST", f"{pod}/action", stop)])


def vast(environ: Mapping[str, str]) -> Way:
    """providers.md 2.5, 2.6, 2.9: the instance's own key can stop and destroy it."""
    id = plain(environ, "CONTAINER_ID", r"[0-9]{1,18}")
    line = Line(environ, "https://console.vast.ai", environ.get("CONTAINER_API_KEY", ""), "CONTAINER_API_KEY")
    path = f"/api/v0/instances/{id}/"
    return Way(f"vast instance {id}", line, [("DELETE", path, {}), ("PUT", path, {"state": "stopped"})])


def hyperbolic(environ: Mapping[str, str]) -> Way:
    """providers.md 3.6. The machine has no key of its own; a lent one, in a file, is the whole account's."""
    id, key = plain(environ, "STOKER_RENTAL", r"[0-9]{1,18}"), ""
    with suppress(OSError, ValueError):
        key = Path(environ.get("STOKER_LENT_KEY", "")).read_text(encoding="utf-8").strip()
    line = Line(environ, "https://api.hyperbolic.ai", key, "a file of STOKER_LENT_KEY")
    body = {"rentalId": int(id), "reason": "the run's own dead-man switch"}
    return Way(f"hyperbolic rental {id}", line, [("POST", f"{RENTALS}/terminate", body)])


def ours(way: Way, environ: Mapping[str, str]) -> str:
    """Why a lent key must not be used; nothing: the rental has our tag (providers.md 3.5: `label`, else `name`)."""
    status, rows, words = way.line.ask("GET", RENTALS)
    if status != 200 or not isinstance(rows, list):
        return f"the rentals cannot be read: {status or ''} {words if status != 200 else ''}"
    mine = [row for row in rows if isinstance(row, dict) and str(row.get("id")) == environ["STOKER_RENTAL"]]
    label = (mine[0].get("label") or mine[0].get("name")) if mine else None
    return "" if label and label == environ.get("STOKER_TAG") else f"{way.words} does not have our tag: left alone"


RENTALS = "/v2/on-demand/virtual-machine-rentals"
WAYS = {
    "runpod": (runpod, "RUNPOD_POD_ID"),
    "vast": (vast, "CONTAINER_ID"),
    "hyperbolic": (hyperbolic, "STOKER_RENTAL"),
}


def plain(environ: Mapping[str, str], name: str, pattern: str) -> str:
    """An id that can stand in a path. Raises NoWay."""
    if not re.fullmatch(pattern, environ.get(name, "")):
        raise NoWay(f"{name} names no machine")
    return environ[name]


def first(way: Way) -> tuple[str, str]:
    """Call after call until one is taken; only a refusal leads to the next."""
    outcome, said = UNSURE, ""
    for method, path, body in way.calls:
        status, value, words = way.line.ask(method, path, body)
        outcome = judged(status)
        if outcome == TAKEN and isinstance(value, dict) and (value.get("errors") or value.get("success") is False):
            outcome = REFUSED  # HTTP 200 can say no (providers.md 1.15, 2.1)
        kind = f" {next(iter(body.values()))}" if isinstance(body, dict) and "/action" in path else ""
        said = f"{method} {path}{kind}: {status or ''} {words}".rstrip()
        if outcome != REFUSED:
            break
    return outcome, said


def main() -> int:
    flags = sys.argv[1:]
    if flags not in ([], ["--how"]):
        print(__doc__)
        return 0 if flags in (["-h"], ["--help"]) else 2
    environ = told()
    named = environ.get("STOKER_PROVIDER", "")
    try:
        there = [name for name, (_, mark) in WAYS.items() if name == named or (not named and environ.get(mark))]
        if len(there) != 1:
            raise NoWay("no provider's variables" if not there else f"variables of {' and '.join(there)}")
        way = WAYS[there[0]][0](environ)
    except (NoWay, ValueError) as error:  # ValueError: an address that is none
        print(f"none: {error}")
        return 2
    if flags:
        print(f"way: {way.words} can be ended from in here")
        return 0
    why = ours(way, environ) if there == ["hyperbolic"] else ""
    outcome, words = (UNSURE, why) if why else first(way)
    print(f"{'taken' if outcome == TAKEN else 'again'}: {words}")
    return 0 if outcome == TAKEN else 3


if __name__ == "__main__":
    sys.exit(main())
