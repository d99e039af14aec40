"""From Refused to a reply; and what every route begins with."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from fleet.simulators.site import Answer, Site
from fleet.simulators.vast.queries import BadQuery
from fleet.simulators.vast.refusals import Refused, bad_json, bad_query
from fleet.simulators.wire import Reply, Request


def written(refused: Refused) -> Reply:
    """JSON, or plain text where the body is a str."""
    if isinstance(refused.body, str):
        headers = {"Content-Type": "text/plain", **refused.headers}
        return Reply(refused.status, raw=refused.body.encode(), headers=headers)
    return Reply(refused.status, refused.body, dict(refused.headers))


def both(site: Site, method: str, path: str) -> Callable[[Answer], Answer]:
    """Registers a route with and without its last slash: no redirects (providers.md 2.1)."""

    def registered(function: Answer) -> Answer:
        @wraps(function)
        def answered(request: Request) -> Reply:
            try:
                return function(request)
            except Refused as refused:
                return written(refused)
            except BadQuery as wrong:
                return written(bad_query(str(wrong)))

        for form in (path.rstrip("/"), f"{path.rstrip('/')}/"):
            site.route(method, form)(answered)
        return function

    return registered


def body_of(request: Request, refused: Refused | None = None) -> dict[str, Any]:
    """The body, an object. Raises Refused for anything else."""
    try:
        found = request.json() if request.body else {}
    except ValueError:
        raise refused or bad_json() from None
    if not isinstance(found, dict):
        raise refused or bad_json()
    return found


def owner_of(request: Request) -> int:
    """Whom the guard found; an instance's own key stands for nobody here."""
    return int(request.caller.partition(":")[0])
