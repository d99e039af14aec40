"""Loopback servers that answer as the three providers are documented to, and note every request that they would not
take: the rules of their documentation that our requests rely on, written down a second time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

KEY = "key-that-must-never-be-shown-7f3c"


@dataclass
class Seen:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    """One answer. cut: promise the whole length, send half and close; wait: seconds before the first byte."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    wait: float = 0.0


def reply(value: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(value).encode(), {name.replace("_", "-"): text for name, text in headers.items()})


class Market:
    """One provider. Answers what `script` holds first, then what `normal` makes of the request."""

    def __init__(self, rules: Callable[[Seen], str | None], normal: Callable[[Seen], Reply]) -> None:
        self.rules, self.normal = rules, normal
        self.script: list[Reply] = []
        self.seen: list[Seen] = []
        self.broken_rules: list[str] = []
        market = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                market.answer(self)

            do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def answer(self, line: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(line.path)
        content = line.rfile.read(int(line.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in line.headers.items()}
        seen = Seen(line.command, parts.path, dict(parse_qsl(parts.query)), headers, json.loads(content or b"null"))
        self.seen.append(seen)
        broken = common(seen) or self.rules(seen)
        if broken:
            self.broken_rules.append(broken)
        given = self.script.pop(0) if self.script else self.normal(seen)
        time.sleep(given.wait)
        try:
            line.send_response(given.status)
            for name, value in {"Content-Type": "application/json", **given.headers}.items():
                line.send_header(name, value)
            line.send_header("Content-Length", str(len(given.body)))
            line.end_headers()
            line.wfile.write(given.body[: len(given.body) // 2] if given.cut else given.body)
            line.close_connection = line.close_connection or given.cut
        except OSError:
            line.close_connection = True

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


def common(seen: Seen) -> str | None:
    if "api_key" in seen.query or KEY in str(seen.query) or KEY in str(seen.body) or KEY in seen.path:
        return "the key stands where logs would keep it"
    if "python" in seen.headers.get("user-agent", "python").lower():
        return "no agent of our own"
    if seen.headers.get("authorization") not in (None, f"Bearer {KEY}"):
        return "another Authorization than a bearer key"
    return None


def needs_key(seen: Seen, status: int, body: Any) -> Reply | None:
    return None if seen.headers.get("authorization") == f"Bearer {KEY}" else reply(body, status)


# --- RunPod: GET /v2/catalog/gpus of the OpenAPI file -----------------------------------------------------------------

RUNPOD_QUERY = {"include", "product", "count", "cloud", "countryCodes", "cudaVersions", "minCudaVersion"}


def runpod_rules(seen: Seen) -> str | None:
    query = seen.query
    if (seen.method, seen.path) != ("GET", "/v2/catalog/gpus"):
        return f"{seen.method} {seen.path}"
    if set(query) - RUNPOD_QUERY:
        return f"unknown parameters {set(query) - RUNPOD_QUERY}"
    if ("include" in query) != ("product" in query) or (set(query) and "include" not in query):
        return "filters without include and product: 400"
    if query.get("include", "AVAILABILITY") != "AVAILABILITY" or query.get("product", "POD") != "POD":
        return "not in the enums"
    if query.get("cloud", "SECURE") not in ("SECURE", "COMMUNITY") or int(query.get("count", "1")) < 1:
        return "not in the enums"
    return None


def runpod_row(**changed: Any) -> dict[str, Any]:
    row = {
        "id": "NVIDIA H100 80GB HBM3",
        "name": "H100 SXM",
        "pool": None,
        "manufacturer": "NVIDIA",
        "memory": 80,
        "secure": True,
        "community": True,
        "price": {"secure": 2.99, "community": 2.69},
        "maxCount": {"secure": 8, "community": 2},
        "availability": "LOW",
        "dataCenters": [
            {"id": "US-KS-2", "name": "US Kansas 2", "availability": "LOW"},
            {"id": "EU-RO-1", "name": "EU Romania 1", "availability": "NONE"},
        ],
        "cudaVersions": [
            {"version": "13.0", "available": False},
            {"version": "12.8", "available": True},
            {"version": "12.11", "available": True},
        ],
    }
    return {**row, **changed}


def runpod_catalogue(seen: Seen) -> Reply:
    refused = needs_key(seen, 401, {"title": "Unauthorized", "status": 401, "detail": "missing bearer token"})
    amd = runpod_row(id="AMD Instinct MI300X OAM", manufacturer="AMD", cudaVersions=None)
    rtx = runpod_row(id="NVIDIA GeForce RTX 4090", price={"secure": 0.69, "community": 0.34}, availability="NONE")
    return refused or reply({"gpus": [runpod_row(), amd, rtx]})


# --- Vast.ai: POST /api/v0/bundles/ -----------------------------------------------------------------------------------

VAST_FILTERS = {
    *(
        "verified",
        "rentable",
        "rented",
        "external",
        "gpu_name",
        "num_gpus",
        "reliability",
        "dph_total",
        "min_bid",
        "direct_port_count",
    ),
    *("geolocation", "gpu_ram", "cuda_max_good", "duration", "machine_id", "disk_space"),
}
VAST_OPERATORS = {"eq", "neq", "gt", "lt", "gte", "lte", "in", "notin"}


def vast_rules(seen: Seen) -> str | None:
    if (seen.method, seen.path) != ("POST", "/api/v0/bundles/"):
        return f"{seen.method} {seen.path}"
    body = dict(seen.body)
    if body.pop("type", None) not in ("ondemand", "on-demand", "bid", "reserved"):
        return "type"
    if not isinstance(body.pop("limit", None), int) or not isinstance(
        body.pop("allocated_storage", None), (int, float)
    ):
        return "limit, allocated_storage"
    if not all(len(pair) == 2 and pair[1] in ("asc", "desc") for pair in body.pop("order", [])):
        return "order"
    for name, filters in body.items():
        if name not in VAST_FILTERS or not isinstance(filters, dict) or not set(filters) <= VAST_OPERATORS:
            return f"{name} is not a valid search key"
    return None


def vast_row(**changed: Any) -> dict[str, Any]:
    """The row of the docs, with their figures."""
    row = {
        "id": 12345678,
        "ask_contract_id": 12345678,
        "machine_id": 88888,
        "host_id": 55555,
        "gpu_name": "RTX 4090",
        "num_gpus": 2,
        "gpu_frac": 0.5,
        "gpu_ram": 24564,
        "bw_nvlink": 0,
        "pcie_bw": 24.5,
        "cuda_max_good": 12.8,
        "driver_version": "570.86.15",
        "cpu_cores": 64,
        "cpu_cores_effective": 32.0,
        "cpu_ram": 257000,
        "disk_space": 800.0,
        "dph_base": 0.70,
        "dph_total": 0.704167,
        "storage_cost": 0.15,
        "inet_up_cost": 0.005,
        "inet_down_cost": 0.003,
        "inet_up": 800.0,
        "inet_down": 900.0,
        "min_bid": 0.35,
        "is_bid": False,
        "reliability": 0.995,
        "reliability2": 0.995,
        "verification": "verified",
        "geolocation": "Sweden, SE",
        "duration": 1209600.0,
        "hosting_type": 1,
        "rentable": True,
        "rented": False,
        "external": None,
    }
    return {**row, **changed}


@dataclass
class VastStock:
    """Searches its rows as Vast documents it: filters, order, limit; the disk asked for is in dph_total."""

    rows: list[dict[str, Any]] = field(default_factory=lambda: [vast_row()])

    def __call__(self, seen: Seen) -> Reply:
        refused = needs_key(seen, 404, {"success": False, "error": "auth_error", "msg": "Invalid user key"})
        if refused:
            return refused
        body = dict(seen.body)
        disk, limit = body.pop("allocated_storage", 8), body.pop("limit", 64)
        order, _ = body.pop("order", [["score", "desc"]]), body.pop("type")
        rows = [
            {**row, "dph_total": priced(row, disk), "verified": row["verification"] == "verified"} for row in self.rows
        ]
        rows = [row for row in rows if all(passes(row.get(name), tests) for name, tests in body.items())]
        for name, way in reversed(order):
            rows.sort(key=lambda row: row.get(name) or 0, reverse=way == "desc")
        return reply({"offers": rows[:limit]})


def priced(row: dict[str, Any], disk: float) -> Any:
    if row.get("dph_base") is None or row.get("storage_cost") is None:
        return row.get("dph_total")
    return row["dph_base"] + disk * row["storage_cost"] / 720


def passes(value: Any, tests: dict[str, Any]) -> bool:
    compare: dict[str, Callable[[Any, Any], bool]] = {
        "eq": lambda mine, asked: mine == asked or (mine is None and asked is False),
        "gte": lambda mine, asked: mine is None or mine >= asked,
        "in": lambda mine, asked: mine in asked,
    }
    return all(compare[operator](value, asked) for operator, asked in tests.items())


# --- Hyperbolic: GET /v2/on-demand/rental-options ---------------------------------------------------------------------


def hyperbolic_rules(seen: Seen) -> str | None:
    with_key = "authorization" in seen.headers
    path = "/v2/on-demand/rental-options" if with_key else "/v2/alpha/on-demand/rental-options"
    return None if (seen.method, seen.path, seen.query) == ("GET", path, {}) else f"{seen.method} {seen.path}"


def hyperbolic_row(**changed: Any) -> dict[str, Any]:
    row = {
        "enabled": True,
        "costPerHourCents": 2552,
        "providerCostPerHourCents": 1111,
        "region": "us-east-1",
        "gpuCount": 8,
        "gpuType": "h100",
        "gpuFormFactor": "sxm5",
        "connectionType": "ethernet",
        "ethernetVariant": "rocev2",
        "machineType": "virtual-machine",
        "totalAvailable": 3,
        "nodes": [{"cpuModel": "cpu-b", "gpuCount": 8, "ramGb": 1500, "storageGb": 12000, "vcpuCount": 200}],
    }
    return {**row, **changed}


def hyperbolic_options(_: Seen) -> Reply:
    pcie = hyperbolic_row(gpuFormFactor="pcie", gpuCount=1, costPerHourCents=275, region="ca-east-1")
    pcie.pop("totalAvailable")
    infiniband = hyperbolic_row(gpuType="h200", connectionType="infiniband", machineType="bare-metal")
    infiniband.pop("ethernetVariant")
    off = hyperbolic_row(enabled=False, gpuType="rtx-6000-pro", gpuFormFactor="pcie", gpuCount=2, costPerHourCents=358)
    return reply([pcie, hyperbolic_row(), infiniband, off])
