"""A provider as a table of routes over a world. The provider's file says what each does; this one finds it.

    site = Site(world, guard=guard, missing=missing, invented=INVENTED)

    @site.route("GET", "/v2/pods/{id}")
    def show(request: Request) -> Reply: ...

A route's function runs with the world's lock held and its time caught up, so it may read and change the world freely;
it must not wait. `{name}` is one segment of the path, percent-decoded after the path was split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from fleet.simulators.admin import answer_admin
from fleet.simulators.invented import CORE, Invented
from fleet.simulators.requestlog import RequestLog
from fleet.simulators.wire import Reply, Request
from fleet.simulators.world import World

Answer = Callable[[Request], Reply]
SLOW = 3.0  # real seconds a slow answer takes, unless its knob says `seconds`


class Site:
    """One provider's API.

    `guard(request)` is asked first (key, size, rate): a Reply refuses. `missing(request, allowed)` answers an unknown
    path (no `allowed`) or method. `finish(request, reply)` may add headers. `secrets` are field names whose values the
    request log masks, beside those it always does. `admin` holds the provider's own /_sim/NAME answers.
    """

    def __init__(
        self,
        world: World,
        guard: Callable[[Request], Reply | None],
        missing: Callable[[Request, Sequence[str]], Reply],
        invented: Sequence[Invented] = (),
        finish: Callable[[Request, Reply], None] = lambda request, reply: None,
        secrets: Sequence[str] = (),
    ) -> None:
        self.world, self.guard, self.missing, self.finish = world, guard, missing, finish
        self.name = world.name
        self.invented = (*CORE, *invented)
        self.log = RequestLog(secrets)
        self.admin: dict[str, Callable[[dict[str, Any]], Any]] = {}  # "preempt": function of the posted table
        self.crashes: list[str] = []  # tracebacks of the simulator's own bugs: none, in a good test
        self.url = ""  # where it is served, once it is
        self._routes: list[tuple[str, re.Pattern[str], Answer]] = []
        self._fixed: dict[tuple[str, str], Answer] = {}

    def route(self, method: str, path: str) -> Callable[[Answer], Answer]:
        """Registers the decorated function for `method` and `path`."""

        def registered(function: Answer) -> Answer:
            if "{" in path:
                pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))
                self._routes.append((method, pattern, function))
            else:
                self._fixed[method, path] = function
            return function

        return registered

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        """The reply to one request; also what the request log gets to know."""
        path, _, query = target.partition("?")
        if path.startswith("/_sim/"):
            return answer_admin(self, Request(method, path, query, headers, body))
        request = Request(method, unquote(path), query, headers, body)
        with self.world.lock:
            self.world.catch_up()
            reply = self._struck(request) or self.guard(request) or self._routed(request, path)
            self.finish(request, reply)
            self.log.add(self.world.now, request, reply)
        return reply

    def _struck(self, request: Request) -> Reply | None:
        """A read that fails by one of the knobs read.*."""
        faults = self.world.faults
        if request.method != "GET":
            return None
        if faults.take("read.drop") is not None:
            return Reply(0, drop=True)
        if faults.take("read.5xx") is not None:
            return Reply(503, raw=b"upstream connect error", headers={"Content-Type": "text/plain"})
        if faults.take("read.429") is not None:
            return Reply(429, raw=b"Too Many Requests", headers={"Content-Type": "text/plain", "Retry-After": "1"})
        return None

    def _routed(self, request: Request, path: str) -> Reply:
        slow = self.world.faults.take("read.slow") if request.method == "GET" else None
        function = self._fixed.get((request.method, path)) or self._matched(request, path)
        reply = function(request) if function else self.missing(request, self._allowed(path))
        if slow is not None:
            reply.slow = float(slow.get("seconds", SLOW))
        return reply

    def _matched(self, request: Request, path: str) -> Answer | None:
        for method, pattern, function in self._routes:
            if method == request.method and (found := pattern.fullmatch(path)):
                request.parts = {name: unquote(text) for name, text in found.groupdict().items()}
                return function
        return None

    def _allowed(self, path: str) -> list[str]:
        fixed = {method for method, known in self._fixed if known == path}
        return sorted(fixed | {method for method, pattern, _ in self._routes if pattern.fullmatch(path)})
