"""A small Vast on loopback: it keeps what it is told, answers in the shapes of providers.md 2, and notes every request
that the corrected OpenAPI file (tests/data/specs/vast.json) does not take."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from fleet.offers.offer import INTERRUPTIBLE, ON_DEMAND, Offer
from fleet.providers.values import Container, Order
from fleet.providers.vast.client import Vast
from tests.fleet.offers.market import KEY, Market, Reply, Seen, needs_key, reply
from tests.fleet.providers.openapi import OpenApi
from tests.fleet.providers.vast.published import answered

TAG = "stk-ab12-demo-1a2b3c4d"
ASK = "12345678"
DIGEST = "sha256:" + "ab" * 32
TOKEN = "hf_plantedTokenThatMustNotBeSeen"
AWS = "planted/secret+with/slashes"
PASSWORD = "planted-registry-password"
INSTANCE_KEY = "planted-instance-api-key"
# Bodies whose every field we know: another field in a request of ours is a slip.
CLOSED = (("/api/v0/asks/{id}", "put"), ("/api/v0/template", "post"), ("/api/v0/instances/{id}", "put"))


def strict() -> OpenApi:
    spec = OpenApi.read("vast")
    for path, method in CLOSED:
        body = spec.document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]
        body["additionalProperties"] = False
    return spec


class Steps:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)


def row(id: int = 20118481, **changed: Any) -> dict[str, Any]:
    """A running instance as the v1 list shows it."""
    return {
        "id": id,
        "machine_id": 88888,
        "actual_status": "running",
        "intended_status": "running",
        "cur_state": "running",
        "next_state": "running",
        "label": TAG,
        "status_msg": "success, running image/args",
        "image_uuid": f"registry.example/team/train@{DIGEST}",
        "image_runtype": "args",
        "extra_env": [["STOKER_RUN", "demo"], ["STOKER_TAG", TAG], ["HF_TOKEN", TOKEN], ["-p 22:22", "1"]],
        "ssh_host": "ssh5.vast.ai",
        "ssh_port": 10882,
        "public_ipaddr": " 203.0.113.42\n",
        "ports": {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": "40022"}]},
        "gpu_name": "RTX 4090",
        "num_gpus": 2,
        "gpu_ram": 24564,
        "disk_space": 40.0,
        "dph_base": 0.70,
        "dph_total": 0.708333,
        "storage_cost": 0.15,
        "is_bid": False,
        "start_date": 1795168800.5,
        "geolocation": "Sweden, SE",
        "instance": {"gpuCostPerHour": 0.70, "diskHour": 0.008333, "totalHour": 0.708333},
        **changed,
    }


STOPPED = {"intended_status": "stopped", "cur_state": "stopped", "next_state": "stopped", "actual_status": "exited"}


def offer(kind: str = ON_DEMAND, **changed: Any) -> Offer:
    values = {"price": 0.35, "machine": "88888", "region": "SE", **changed}
    return Offer("vast", "rtx4090", 2, values.pop("price"), kind, ASK, "2026-11-21T12:00:00+00:00", **values)


def container(**changed: Any) -> Container:
    values: dict[str, Any] = {
        "name": "demo",
        "image": f"registry.example/team/train@{DIGEST}",
        "env": {"STOKER_RUN": "demo", "NCCL_DEBUG": "INFO", "NOTE": "d12 with blanks", "STOKER_DOLLARS": "20"},
        "secrets": {"HF_TOKEN": TOKEN, "AWS_SECRET_ACCESS_KEY": AWS},
        "disk_gb": 40,
        "cuda": "12.9",
    }
    return Container(**{**values, **changed})


def order(kind: str = ON_DEMAND, bid: str = "", **changed: Any) -> Order:
    values: dict[str, Any] = {"container": container(), "most_usd_hour": Decimal(2)}
    return Order(TAG, offer(kind), bid_usd_hour=Decimal(bid) if bid else None, **{**values, **changed})


class Desk:
    """What Vast keeps. `answers` holds replies to be given first, by "METHOD path"."""

    def __init__(self) -> None:
        spec = strict()

        def rules(seen: Seen) -> str | None:
            wrong = spec.request(seen.method, seen.path, seen.query, seen.headers, seen.body)
            if not seen.path.endswith("/") and seen.path != "/api/v0/users/current":
                wrong.append("no slash at the end, as clients and docs write it")
            return "; ".join(wrong) or None

        self.wrong: list[str] = []  # of our own answers here: a client shall not learn from a wrong one
        self.odd = False  # set where it is a test's point that an answer is not as published
        self.rows: dict[str, dict[str, Any]] = {}
        self.templates: list[dict[str, Any]] = []
        self.secrets: dict[str, str] = {}
        self.volumes: list[dict[str, Any]] = []
        self.offers: list[dict[str, Any]] = []
        self.account: dict[str, Any] = {"id": 123456, "credit": 25.0, "balance": 0}
        self.log = b""
        self.answers: dict[str, list[Reply | Callable[[Seen], Reply]]] = {}
        self.market = Market(rules, self.answer)

    def client(self, tmp: Path, clock: Steps | None = None, key: str = KEY) -> Vast:
        return Vast(key, tmp, clock or Steps(), {"STOKER_VAST_URL": self.market.url})

    def sent(self, method: str, start: str = "/") -> list[Seen]:
        return [seen for seen in self.market.seen if seen.method == method and seen.path.startswith(start)]

    def first(self, what: str, *replies: Reply | Callable[[Seen], Reply]) -> None:
        """Gives these, one after another, before the normal answers to "METHOD path-start"."""
        self.answers.setdefault(what, []).extend(replies)

    def answer(self, seen: Seen) -> Reply:
        bad_key = {"success": False, "error": "auth_error", "msg": "Invalid user key"}
        refused = None if seen.path.startswith("/logs/") else needs_key(seen, 401, bad_key)
        if refused:
            return refused
        for what, waiting in self.answers.items():
            method, _, start = what.partition(" ")
            if waiting and seen.method == method and seen.path.startswith(start):
                given = waiting.pop(0)
                return given(seen) if callable(given) else given
        if seen.path.startswith("/logs/"):
            return self.file(seen)
        kind = re.sub(r"/\d+(?=/)", "/N", seen.path).removeprefix("/api/")
        done = getattr(self, f"{seen.method.lower()}_{re.sub(r'[/]+', '_', kind).strip('_')}", None)
        if done is None:
            return reply({"error": "not_here"}, 404)
        given = done(seen)
        if not self.odd:
            self.wrong += answered(seen.method, seen.path, seen.query, given.status, json.loads(given.body))
        return given

    def file(self, seen: Seen) -> Reply:
        if "authorization" in seen.headers:
            return reply({"error": "a login where none belongs"}, 400)
        return Reply(200, self.log)

    def put_v0_asks_N(self, seen: Seen) -> Reply:
        id = 20118481 + len(self.rows)
        self.rows[str(id)] = row(id, label=seen.body["label"], is_bid=seen.body["price"] is not None)
        return reply({"success": True, "new_contract": id, "instance_api_key": INSTANCE_KEY})

    def get_v1_instances(self, seen: Seen) -> Reply:
        wanted = json.loads(seen.query["select_filters"]).get("label", {}).get("eq")
        rows = [each for each in self.rows.values() if wanted is None or each["label"] == wanted]
        start = int(seen.query.get("after_token") or 0)
        size = int(seen.query["limit"])
        counts: dict[str, int] = {}
        for each in self.rows.values():
            counts[each["label"] or ""] = counts.get(each["label"] or "", 0) + 1
        more = str(start + size) if len(rows) > start + size else None
        part = rows[start : start + size]
        numbers = {"instances_found": len(part), "total_instances": len(rows), "label_counts": counts}
        return reply({"success": True, **numbers, "next_token": more, "instances": part})

    def get_v0_instances_N(self, seen: Seen) -> Reply:
        return reply({"instances": self.rows.get(seen.path.split("/")[-2])})

    def put_v0_instances_N(self, seen: Seen) -> Reply:
        if seen.path.split("/")[-2] not in self.rows:
            return reply({"success": False, "error": "no_such_instance", "msg": "Instance does not exist."}, 404)
        return reply({"success": True})

    def delete_v0_instances_N(self, seen: Seen) -> Reply:
        if self.rows.pop(seen.path.split("/")[-2], None) is None:
            return reply({"success": False, "error": "no_such_instance", "msg": "Instance does not exist."}, 404)
        return reply({"success": True, "msg": "Instance destroyed successfully"})

    def put_v0_instances_request_logs_N(self, seen: Seen) -> Reply:
        if seen.path.split("/")[-2] not in self.rows:
            return reply({"error": "invalid_id", "msg": "Invalid instance id."}, 404)
        return reply({"success": True, "result_url": f"{self.market.url}/logs/x.log?signed=yes", "msg": ""})

    def post_v0_bundles(self, seen: Seen) -> Reply:
        return reply({"offers": self.offers})

    def get_v0_template(self, seen: Seen) -> Reply:
        name = json.loads(seen.query["select_filters"])["name"]["eq"]
        found = [each for each in self.templates if each["name"] == name]
        return reply({"success": True, "templates_found": len(found), "templates": found})

    def post_v0_template(self, seen: Seen) -> Reply:
        made = hashed(seen.body)
        same = next((each for each in self.templates if each["hash_id"] == made["hash_id"]), None)
        if same is None:
            self.templates.append({**made, "id": 334548 + len(self.templates)})
        found = same or self.templates[-1]
        return reply({"success": True, "msg": "", "template": {n: found[n] for n in ("id", "hash_id", "name")}})

    def put_v0_template(self, seen: Seen) -> Reply:
        for index, each in enumerate(self.templates):
            if each["hash_id"] == seen.body["hash_id"]:
                self.templates[index] = {**hashed({**each, **seen.body}), "id": each["id"]}
                found = self.templates[index]
                return reply({"success": True, "template": {n: found[n] for n in ("id", "hash_id")}})
        return reply({"success": False, "error": "not_found", "msg": "no such template"}, 404)

    def get_v0_secrets(self, seen: Seen) -> Reply:
        return reply({"success": True, "secrets": dict.fromkeys(self.secrets, "*****")})

    def post_v0_secrets(self, seen: Seen) -> Reply:
        if seen.body["key"] in self.secrets:
            return reply({"success": False, "error": "existing_key", "msg": "exists"}, 400)
        self.secrets[seen.body["key"]] = seen.body["value"]
        return reply({"success": True, "msg": "Environment variable added successfully"})

    def delete_v0_secrets(self, seen: Seen) -> Reply:
        if self.secrets.pop(seen.body["key"], None) is None:
            return reply({"success": False, "error": "nonexistent_key", "msg": "no such key"}, 400)
        return reply({"success": True, "msg": ""})

    def get_v0_users_current(self, seen: Seen) -> Reply:
        return reply(self.account)

    def get_v0_volumes(self, seen: Seen) -> Reply:
        return reply({"volumes": self.volumes})

    def get_v0_ssh(self, seen: Seen) -> Reply:
        keys = ("ssh-ed25519 AAAAone me@home", None), ("ssh-ed25519 AAAAold me@work", "2026-01-01T00:00:00Z")
        return reply([{"id": n, "user_id": 1, "key": key, "deleted_at": gone} for n, (key, gone) in enumerate(keys)])


def hashed(body: dict[str, Any]) -> dict[str, Any]:
    content = {name: value for name, value in body.items() if name not in ("hash_id", "id")}
    return {**content, "hash_id": hashlib.md5(json.dumps(content, sort_keys=True).encode()).hexdigest()}


__all__ = ["ASK", "INTERRUPTIBLE", "KEY", "TAG", "Desk", "Steps", "container", "offer", "order", "row"]
