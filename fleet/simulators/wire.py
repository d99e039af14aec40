"""A request as a simulator gets it, and its reply: plain values, so that a provider is functions between them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs


@dataclass
class Request:
    """One request. Names of `headers` are in lower case; `path` is decoded, `{names}` of the route are in `parts`."""

    method: str
    path: str
    query_text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    parts: dict[str, str] = field(default_factory=dict)
    caller: str = ""  # who asks: set by the provider's guard
    violations: list[str] = field(default_factory=list)  # against the provider's specification, for the log

    @property
    def query(self) -> dict[str, str]:
        """The query's values; of a repeated name the last."""
        return {name: values[-1] for name, values in parse_qs(self.query_text, keep_blank_values=True).items()}

    @property
    def bearer(self) -> str:
        """The key of `Authorization: Bearer KEY`; empty without one."""
        scheme, _, key = self.headers.get("authorization", "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""

    def json(self) -> Any:
        """The body as JSON. Raises ValueError (also for no body and for bytes that are no UTF-8)."""
        return json.loads(self.body.decode("utf-8"))


@dataclass
class Reply:
    """One answer.

    `body` becomes JSON (None: no body); `raw` goes out as it is, in place of `body`; `stream` is sent piece by piece
    until it ends or the client leaves (an empty piece only looks whether it has). `drop` closes the connection without
    an answer. `slow` waits so many REAL seconds first: a client's timeout is real, whatever the clock says.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    stream: Iterator[bytes] | None = None
    drop: bool = False
    slow: float = 0.0

    def bytes(self) -> bytes:
        if self.raw is not None:
            return self.raw
        return b"" if self.body is None else json.dumps(self.body, separators=(",", ":")).encode()
