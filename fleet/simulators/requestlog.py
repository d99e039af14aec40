"""What was asked of a simulator, with secrets masked: for assertions on counts, and for people.

Never kept: header values, env values, registry passwords, secret values, keys in a query (providers.md 0.4).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fleet.simulators.clock import SECOND, moment
from fleet.simulators.wire import Reply, Request

MASK = "***"
SECRETS = frozenset(
    ("password", "value", "api_key", "apikey", "token", "authorization", "image_login", "docker_login_pass")
)
TABLES = frozenset(("env", "extra_env", "secrets"))  # whose values are all masked
SHOWN = frozenset(("STOKER_TAG", "STOKER_RUN", "STOKER_WISH"))
MOST = 200_000


class RequestLog:
    """Every request but the admin channel's, oldest first; the last MOST of them."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self.secrets = SECRETS | {name.lower() for name in secrets}
        self.rows: list[dict[str, Any]] = []
        self.violations: Counter[str] = Counter()

    def add(self, at: int, request: Request, reply: Reply) -> None:
        """Called with the world's lock held."""
        if len(self.rows) >= MOST:
            del self.rows[: MOST // 2]
        self.violations.update(request.violations)
        self.rows.append(
            {
                "at": at,
                "method": request.method,
                "path": request.path,
                "query": self._query(request.query_text),
                "agent": request.headers.get("user-agent", ""),
                "body": request.body,  # masked when it is shown: most never are
                "status": 0 if reply.drop else reply.status,
                "violations": request.violations,
            }
        )

    def shown(self) -> list[dict[str, Any]]:
        """The rows as the admin channel gives them."""
        return [{**row, "at": moment(row["at"]).isoformat(), "body": self._body(row["body"])} for row in self.rows]

    def per_minute(self) -> dict[str, int]:
        """How many requests each minute of virtual time had, by the minute's beginning."""
        found = Counter(row["at"] // (60 * SECOND) for row in self.rows)
        return {moment(minute * 60 * SECOND).isoformat(): count for minute, count in sorted(found.items())}

    def clear(self) -> None:
        self.rows.clear()
        self.violations.clear()

    def _query(self, text: str) -> str:
        pairs = parse_qsl(text, keep_blank_values=True)
        return urlencode([(name, MASK if name.lower() in self.secrets else value) for name, value in pairs])

    def _body(self, body: bytes) -> Any:
        if not body:
            return None
        try:
            return self._masked(json.loads(body))
        except ValueError:
            return f"({len(body)} bytes that are no JSON)"

    def _masked(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._masked(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {name: self._masked_field(name, inner) for name, inner in value.items()}

    def _masked_field(self, name: str, inner: Any) -> Any:
        if name.lower() in TABLES and inner:
            if isinstance(inner, dict):
                return {key: one if key in SHOWN else MASK for key, one in inner.items()}
            return MASK
        return MASK if name.lower() in self.secrets and inner is not None else self._masked(inner)
