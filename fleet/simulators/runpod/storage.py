"""Network volumes, registry credentials, SSH keys and secrets (providers.md 1.2, 1.12)."""

from __future__ import annotations

from typing import Any

from fleet.simulators.bodies.body import Login
from fleet.simulators.meter import Meter
from fleet.simulators.runpod import bodies
from fleet.simulators.runpod.account import Account, Volume
from fleet.simulators.runpod.catalogue import DATA_CENTRES
from fleet.simulators.runpod.problems import Refused, not_found
from fleet.simulators.wire import Reply, Request


class Volumes:
    """The calls below /v2/network-volumes."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def list(self, request: Request) -> Reply:
        return Reply(200, {"networkVolumes": [volume.facts for volume in self.account.volumes.values()]})

    def create(self, request: Request) -> Reply:
        body = bodies.read(request, bodies.CREATE_VOLUME)
        if body["dataCenter"] not in DATA_CENTRES:
            raise Refused(400, "no such data center (wording invented)")
        world = self.account.world
        facts = {"id": self.account.new_id(10), "type": "STANDARD", **body}
        volume = self.account.volumes[facts["id"]] = Volume(facts, Meter(world.now), world.now)
        world.charge(volume.meter, volume.rates())
        return Reply(201, facts)

    def show(self, request: Request) -> Reply:
        return Reply(200, self.account.volume(request.parts["id"]).facts)

    def edit(self, request: Request) -> Reply:
        volume = self.account.volume(request.parts["id"])
        body = bodies.read(request, bodies.UPDATE_VOLUME)
        if body.get("size", volume.facts["size"]) < volume.facts["size"]:
            raise Refused(400, "a network volume can only grow (wording invented)")
        volume.facts.update(body)
        self.account.world.charge(volume.meter, volume.rates())
        return Reply(200, volume.facts)

    def delete(self, request: Request) -> Reply:
        volume = self.account.volume(request.parts["id"])
        if self.account.using_volume(request.parts["id"]):
            raise Refused(400, "network volume is in use (wording invented)")
        self.account.world.charge(volume.meter, {})
        self.account.deleted_volumes.append(self.account.volumes.pop(request.parts["id"]))
        self.account.world.bodies.drop_folder(f"network-{request.parts['id']}")
        return Reply(204)


class Registries:
    """The calls below /v2/registries; a password goes in and never comes out."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def list(self, request: Request) -> Reply:
        return Reply(200, {"registries": [self._row(one) for one in self.account.registries]})

    def create(self, request: Request) -> Reply:
        body = bodies.read(request, bodies.CREATE_REGISTRY)
        registry_id = self.account.new_id(10)
        self.account.registries[registry_id] = (body["name"], Login(body["username"], body["password"]))
        return Reply(201, self._row(registry_id))

    def show(self, request: Request) -> Reply:
        return Reply(200, self._row(self._known(request)))

    def delete(self, request: Request) -> Reply:
        registry_id = self._known(request)
        if self.account.using("registry", registry_id):
            raise Refused(400, "registry is in use (wording invented)")
        for template in self.account.templates.values():
            if template["registry"] == registry_id:
                template["registry"] = None  # silently (1.12)
        del self.account.registries[registry_id]
        return Reply(204)

    def no_delegations(self, request: Request) -> Reply:
        """AWS ECR: there is none here."""
        return Reply(200, {"delegations": []})

    def _known(self, request: Request) -> str:
        if request.parts["id"] not in self.account.registries:
            raise not_found()
        return request.parts["id"]

    def _row(self, registry_id: str) -> dict[str, str]:
        return {"id": registry_id, "name": self.account.registries[registry_id][0]}


class SshKeys:
    """/v2/account/ssh-keys: PUT replaces all."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def show(self, request: Request) -> Reply:
        return Reply(200, {"keys": self.account.ssh_keys})

    def replace(self, request: Request) -> Reply:
        self.account.ssh_keys = bodies.read(request, bodies.SSH_KEYS)["keys"]
        return self.show(request)


class Secrets:
    """/v2/secrets, newer than the saved specification; the paths of one secret and the answers' shape are invented."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def list(self, request: Request) -> Reply:
        self._there()
        name = request.query.get("name")
        rows = [self._row(one) for one, row in self.account.secrets.items() if name in (None, row["name"])]
        return Reply(200, {"secrets": rows})

    def create(self, request: Request) -> Reply:
        self._there()
        body = bodies.read(request, bodies.CREATE_SECRET)
        if body["name"] in self.account.secrets:
            raise Refused(400, "secret name must be unique (wording invented)")
        self.account.secrets[body["name"]] = {"id": self.account.new_id(10), "description": "", **body}
        return Reply(201, self._row(body["name"]))

    def edit(self, request: Request) -> Reply:
        name = self._known(request)
        self.account.secrets[name].update(bodies.read(request, bodies.UPDATE_SECRET))
        return Reply(200, self._row(name))

    def show(self, request: Request) -> Reply:
        return Reply(200, self._row(self._known(request)))

    def delete(self, request: Request) -> Reply:
        del self.account.secrets[self._known(request)]
        return Reply(204)

    def _there(self) -> None:
        faults = self.account.world.faults
        if faults.take("secrets_off") is not None or not self.account.newer():
            raise not_found()

    def _known(self, request: Request) -> str:
        self._there()
        for name, row in self.account.secrets.items():
            if row["id"] == request.parts["id"]:
                return name
        raise not_found()

    def _row(self, name: str) -> dict[str, Any]:
        row = self.account.secrets[name]
        return {"id": row["id"], "name": row["name"], "description": row["description"]}
