"""Templates: a snapshot that a create may start from (providers.md 1.6)."""

from __future__ import annotations

from typing import Any

from fleet.simulators.runpod import bodies, words
from fleet.simulators.runpod.account import Account
from fleet.simulators.runpod.pages import page
from fleet.simulators.runpod.plan import DISK
from fleet.simulators.runpod.problems import Refused
from fleet.simulators.wire import Reply, Request


class Templates:
    """The calls below /v2/templates."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def list(self, request: Request) -> Reply:
        rows = [self._shown(one) for one in reversed(self.account.templates.values())]
        return page(self.account, request, "templates", rows)

    def create(self, request: Request) -> Reply:
        body = bodies.read(request, bodies.template(self.account.newer(), ("name", "image")))
        words.settle(body)
        self._check(body, "")
        row: dict[str, Any] = {
            "id": self.account.new_id(10), "args": "", "disk": DISK, "mounts": {}, "ports": [], "env": {},
            "registry": None, "serverless": False, "public": False, "category": "NVIDIA", "startSsh": True,
            "startJupyter": True, "allowedCudaVersions": [], **body,
        }  # fmt: skip
        self.account.templates[row["id"]] = row
        return Reply(201, self._shown(row))

    def show(self, request: Request) -> Reply:
        return Reply(200, self._shown(self.account.template(request.parts["id"])))

    def edit(self, request: Request) -> Reply:
        row = self.account.template(request.parts["id"])
        body = bodies.read(request, bodies.template(self.account.newer(), ()))
        words.settle(body)
        self._check(body, row["id"])
        if body.get("mounts") == {}:
            del body["mounts"]  # omitted or empty: unchanged
        row.update(body)
        return Reply(200, self._shown(row))

    def delete(self, request: Request) -> Reply:
        row = self.account.template(request.parts["id"])
        if self.account.using("made_from", row["id"]):
            raise Refused(400, "template is in use (wording invented)")
        del self.account.templates[row["id"]]
        return Reply(204)

    def official(self, request: Request) -> Reply:
        """Of /v2/catalog/templates: none of anybody's (invented)."""
        if request.query.get("source", "official") not in ("official", "verified", "community"):
            raise Refused(422, "Request validation failed.", ["$.source: value must be one of 'official', 'verified', "
                                                              "'community'"])  # fmt: skip
        return Reply(200, {"templates": [], "pagination": {"nextCursor": None, "hasNextPage": False}})

    def _check(self, body: dict[str, Any], own: str) -> None:
        account = self.account
        if body.get("registry") is not None and body["registry"] not in account.registries:
            raise Refused(400, "registry not found (wording invented)")
        same = any(one["name"] == body.get("name") and one["id"] != own for one in account.templates.values())
        if same and account.world.faults.take("template_names_unique") is not None:
            raise Refused(400, "template name must be unique (wording invented)")

    def _shown(self, row: dict[str, Any]) -> dict[str, Any]:
        return {**row, **(words.shown(row["args"]) if self.account.newer() else {})}
