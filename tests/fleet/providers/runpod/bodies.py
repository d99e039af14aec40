"""What RunPod answers: pods, problems and streams in their documented shapes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

FULL = "There are no longer any instances available with the requested specifications. Please refresh and try again."
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    413: "Content Too Large",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


def problem(status: int, detail: str, *errors: str) -> dict[str, Any]:
    body: dict[str, Any] = {"title": TITLES.get(status, "Error"), "status": status, "detail": detail}
    return {**body, "errors": list(errors)} if errors else body


def pod_row(**changed: Any) -> dict[str, Any]:
    """A pod just after its create, as documented (providers.md 1.7)."""
    row = {
        "id": "7h9k2m4n6p",
        "name": "stk-ab12-run-0a1b2c3d",
        "image": "registry.example/team/train@sha256:" + "0" * 64,
        "args": "",
        "disk": 60,
        "ports": ["22/tcp"],
        "env": {"STOKER_RUN": "run"},
        "registry": None,
        "status": "PROVISIONING",
        "actions": ["stop", "terminate"],
        "mounts": {},
        "gpu": {"id": "NVIDIA H100 80GB HBM3", "count": 2},
        "cloud": "SECURE",
        "dataCenterId": None,
        "cudaVersion": None,
        "ssh": {"proxy": None, "direct": None},
        "template": None,
        "cost": 5.98,
        "locked": False,
        "globalNetworking": {"enabled": False},
        "runtime": None,
        "createdAt": "2026-11-20T10:00:00Z",
        "startedAt": None,
    }
    return {**row, **changed}


def stream_of(*pieces: bytes, chunked: bool = True, stay: float = 0.0) -> Callable[[Any, BaseHTTPRequestHandler], None]:
    """A stream that sends `pieces` one by one, stays open for `stay` seconds, and is cut."""

    def send(_: Any, line: BaseHTTPRequestHandler) -> None:
        line.send_response(200)
        line.send_header("Content-Type", "text/event-stream")
        line.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
        line.end_headers()
        for piece in pieces:
            line.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            line.wfile.flush()
        time.sleep(stay)
        line.close_connection = True

    return send


def event(number: int, text: str, source: str = "container") -> bytes:
    row = json.dumps({"ts": f"2026-11-20T10:02:{number:02d}Z", "source": source, "line": text})
    return f"id: 2026-11-20T10:02:{number:02d}Z/{number:012d}\ndata: {row}\n\n".encode()
