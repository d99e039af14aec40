"""One RunPod account on loopback, for the client's tests: it keeps what it is sent, refuses what the published API does
not know, and fails on demand. Every request and every answer is held against the OpenAPI document."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.fleet.providers.openapi import OpenApi
from tests.fleet.providers.runpod.bodies import pod_row, problem
from tests.fleet.providers.runpod.drift import newer

KEY = "rpa_key-that-must-never-be-shown-5b1e"
WRAPPED = {"pods": "pods", "templates": "templates", "registries": "registries", "network-volumes": "networkVolumes"}


@dataclass
class Fault:
    """What happens instead. when: method and path; before: nothing is done, else it is done first; status 0: the
    connection ends without an answer; body None: a problem with that status; times: how often."""

    method: str
    path: str
    status: int = 0
    body: Any = None
    before: bool = True
    detail: str = "wording invented"
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class Account:
    """rows: what there is, by resource; sent: every request; wrong: what was not as documented."""

    def __init__(self, spec: OpenApi | None = None) -> None:
        self.spec = spec or newer()
        self.rows: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in (*WRAPPED, "secrets")}
        self.ids = count(1)
        self.sent: list[Request] = []
        self.wrong: list[str] = []
        self.faults: list[Fault] = []
        self.money: Any = {"data": {"myself": {"clientBalance": 12.5, "currentSpendPerHr": 0.69, "spendLimit": 80}}}
        self.secret_store = True
        self.page = 0  # rows of a page; 0: the older form without pages
        self.invisible = 0  # reads of a list that do not show the newest row yet
        self.stream: Callable[[Request, BaseHTTPRequestHandler], None] | None = None
        self.keys = ["ssh-ed25519 AAAAexample somebody@somewhere"]
        account = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                account.serve(self)

            do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)

    def asked(self, method: str, path: str) -> list[Request]:
        return [each for each in self.sent if (each.method, each.path) == (method, path)]

    def serve(self, line: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(line.path)
        content = line.rfile.read(int(line.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in line.headers.items()}
        request = Request(
            line.command, parts.path, dict(parse_qsl(parts.query)), headers, json.loads(content) if content else None
        )
        self.sent.append(request)
        if parts.path != "/graphql":
            self.wrong += self.spec.request(request.method, parts.path, request.query, headers, request.body)
        if KEY in line.path or KEY in content.decode():
            self.wrong.append("the key stands where logs would keep it")
        fault = next((one for one in self.faults if (one.method, one.path) == (request.method, request.path)), None)
        if fault is not None:
            fault.times -= 1
            if not fault.times:
                self.faults.remove(fault)
        if fault is None or not fault.before:
            if fault is None and parts.path.endswith("/logs") and self.stream is not None:
                self.stream(request, line)
                return
            status, body = self.done(request)
        if fault is not None:
            if not fault.status:
                line.close_connection = True
                return
            status, body = fault.status, problem(fault.status, fault.detail) if fault.body is None else fault.body
        self.answer(line, request, status, body, fault.headers if fault else {})

    def answer(
        self, line: BaseHTTPRequestHandler, request: Request, status: int, body: Any, more: dict[str, str]
    ) -> None:
        kind = "application/problem+json" if status >= 400 else "application/json"
        if request.path != "/graphql" and not more.pop("unchecked", ""):
            self.wrong += self.spec.answer(request.method, request.path, status, kind, body)
        content = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        try:
            line.send_response(status)
            for name, value in {"Content-Type": kind, **more}.items():
                line.send_header(name, value)
            if status != 204:
                line.send_header("Content-Length", str(len(content)))
            line.end_headers()
            line.wfile.write(content)
        except OSError:
            line.close_connection = True

    def done(self, request: Request) -> tuple[int, Any]:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return 401, problem(401, "missing bearer token")
        if request.path == "/graphql":
            return 200, self.money
        _, _, resource, *rest = [unquote(part) for part in request.path.split("/")]
        if resource == "account":
            return 200, {"keys": self.keys}
        if resource == "secrets" and not self.secret_store:
            return 404, problem(404, "resource not found")
        rows = self.rows.get(resource)
        if rows is None:
            return 404, problem(404, "resource not found")
        if not rest:
            return self.listing(resource, request) if request.method == "GET" else self.made(resource, request.body)
        row = rows.get(rest[0])
        if row is None:
            return 404, problem(404, "resource not found")
        if rest[1:] == ["action"]:
            return self.acted(row, request.body["action"])
        if request.method == "DELETE":
            del rows[rest[0]]
            return 204, None
        if request.method == "PATCH":
            row.update(request.body)
        return 200, row

    def listing(self, resource: str, request: Request) -> tuple[int, Any]:
        rows = list(reversed(self.rows[resource].values()))
        if self.invisible and rows:
            self.invisible -= 1
            rows = rows[1:]
        if resource == "secrets":
            named = [row for row in rows if row["name"] == request.query.get("name", row["name"])]
            return 200, {"secrets": [{"id": row["id"], "name": row["name"]} for row in named]}
        name = WRAPPED[resource]
        if not self.page:
            return 200, {name: rows}
        start = int(request.query.get("cursor", "c0")[1:])
        more = start + self.page < len(rows)
        pagination = {"nextCursor": f"c{start + self.page}" if more else None, "hasNextPage": more}
        return 200, {name: rows[start : start + self.page], "pagination": pagination}

    def made(self, resource: str, body: dict[str, Any]) -> tuple[int, Any]:
        id = f"{resource[:2]}{next(self.ids):04d}"
        if resource == "pods":
            if body.get("templateId") and body["templateId"] not in self.rows["templates"]:
                return 404, problem(404, "resource not found")
            row = self.pod(id, body)
        elif resource == "templates":
            row = {"args": "", "disk": 20, "ports": [], "env": {}, "registry": None, **body, "id": id}
        else:
            row = {**body, "id": id}
        self.rows[resource][id] = row
        told = {name: value for name, value in row.items() if name not in ("value", "password", "username")}
        if resource in ("registries", "secrets"):
            self.rows[resource][id] = {**told, "kept": row}
            if resource == "registries":
                self.rows[resource][id] = told
        return 201, told

    def pod(self, id: str, body: dict[str, Any]) -> dict[str, Any]:
        template = self.rows["templates"].get(body.get("templateId", ""), {})
        merged = {name: template[name] for name in ("image", "args", "disk", "ports", "registry", "mounts") if template}
        base = {"image": "", "args": "", "disk": 20, "ports": [], "registry": None, "mounts": {}} | merged
        own = {name: body[name] for name in base if name in body}
        return pod_row(
            id=id,
            name=body["name"],
            **(base | own),
            env={**template.get("env", {}), **body.get("env", {})},
            gpu={name: body["gpu"][name] for name in ("id", "count")},
            cloud=body.get("cloud", "SECURE"),
            cost=round(2.99 * body["gpu"]["count"], 2),
        )

    def acted(self, row: dict[str, Any], action: str) -> tuple[int, Any]:
        if action not in row["actions"]:
            return 409, problem(409, "action not valid for current pod status (wording invented)")
        if action == "stop":
            row |= {"status": "EXITED", "actions": ["start", "terminate"], "cost": 0, "runtime": None}
        if action == "start":
            row |= {"status": "STARTING", "actions": ["stop", "terminate"], "cost": 2.99}
        return 200, row
