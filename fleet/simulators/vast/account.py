"""Money, SSH keys and the account's environment (providers.md 2.8, 2.10, 2.11)."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from fleet.simulators.site import Site
from fleet.simulators.vast import prices
from fleet.simulators.vast.answers import body_of, both, owner_of
from fleet.simulators.vast.contract import contract_of
from fleet.simulators.vast.house import House
from fleet.simulators.vast.managing import needed
from fleet.simulators.vast.refusals import invalid, refused
from fleet.simulators.wire import Reply, Request

MOST_SECRETS, LONGEST_VALUE = 64, 4096  # both invented
VALUE = re.compile(r"[A-Za-z0-9_.-]+")


def open_account(site: Site, house: House) -> None:
    """Registers the routes."""

    @both(site, "GET", "/api/v0/users/current")
    def user(request: Request) -> Reply:
        owner = owner_of(request)
        own = [row["key"] for row in house.ssh_keys if row["user_id"] == owner]
        found: dict[str, Any] = {
            **{"id": owner, "key_id": 7, "email": "you@example.com"},
            **{"credit": prices.shown(house.world.credit), "balance": 0, "ssh_key": "\n".join(own)},
        }
        faults = house.world.faults
        if faults.take("balance.zero") is not None:
            found["credit"] = 0.0
        if faults.take("balance.negative") is not None:
            found["credit"] = -0.5
        if faults.take("balance.missing") is not None:
            del found["credit"]
        return Reply(200, found)

    open_ssh(site, house)
    open_secrets(site, house)


def open_ssh(site: Site, house: House) -> None:
    """Registers the routes of keys: the account's, and one instance's."""

    @both(site, "GET", "/api/v0/ssh")
    def listed(request: Request) -> Reply:
        return Reply(200, [row for row in house.ssh_keys if row["user_id"] == owner_of(request)])

    @both(site, "POST", "/api/v0/ssh")
    def create(request: Request) -> Reply:
        row = key_row(house, owner_of(request), body_of(request).get("ssh_key"))
        house.ssh_keys.append(row)
        return Reply(
            200, {"success": True, "key": {**{n: v for n, v in row.items() if n != "key"}, "public_key": row["key"]}}
        )

    @both(site, "PUT", "/api/v0/ssh/{id}")
    def update(request: Request) -> Reply:
        row = account_key(house, request)
        row["key"] = str(public_key(body_of(request).get("ssh_key")))
        return Reply(200, {"success": True, "key": {**row, "public_key": row["key"]}})

    @both(site, "DELETE", "/api/v0/ssh/{id}")
    def delete(request: Request) -> Reply:
        house.ssh_keys.remove(account_key(house, request))
        return Reply(200, {"success": True})

    @both(site, "GET", "/api/v0/instances/{id}/ssh")
    def of_instance(request: Request) -> Reply:
        keys = contract_of(needed(house, request)).keys
        return Reply(200, {"success": True, "ssh_keys": json.dumps(keys)})  # a string that holds JSON

    @both(site, "POST", "/api/v0/instances/{id}/ssh")
    def attach(request: Request) -> Reply:
        contract = contract_of(needed(house, request))
        contract.keys.append(key_row(house, owner_of(request), body_of(request).get("ssh_key")))
        return Reply(200, {"success": True, "msg": "SSH key attached successfully"})

    @both(site, "DELETE", "/api/v0/instances/{id}/ssh/{key}")
    def detach(request: Request) -> Reply:
        contract = contract_of(needed(house, request))
        found = [row for row in contract.keys if str(row["id"]) == request.parts["key"]]
        if not found:
            raise refused(404, "no_such_ssh_key", "SSH key not found. (wording invented)")
        contract.keys.remove(found[0])
        return Reply(200, {"success": True, "msg": "SSH key removed from instance."})


def public_key(text: Any) -> str:
    """An OpenSSH public key. Raises Refused."""
    if not isinstance(text, str) or not text.strip():
        raise refused(400, "no_ssh_key", "No ssh key provided")
    if not re.match(r"(ssh|ecdsa|sk)-\S+ \S+", text.strip()):
        raise invalid("not an SSH public key (wording invented)")
    return text.strip()


def key_row(house: House, owner: int, text: Any) -> dict[str, Any]:
    made = datetime.fromtimestamp(house.stamped(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"id": house.number(), "user_id": owner, "key": public_key(text), "created_at": made, "deleted_at": None}


def account_key(house: House, request: Request) -> dict[str, Any]:
    for row in house.ssh_keys:
        if row["user_id"] == owner_of(request) and str(row["id"]) == request.parts["id"]:
            return row
    raise refused(400, "no_ssh_key", "No ssh key provided")


def open_secrets(site: Site, house: House) -> None:
    """Registers the routes of the account's environment: write-only, in every container from its next start."""

    @both(site, "GET", "/api/v0/secrets")
    def listed(request: Request) -> Reply:
        return Reply(200, {"success": True, "secrets": dict.fromkeys(house.secrets_of(owner_of(request)), "*****")})

    @both(site, "POST", "/api/v0/secrets")
    def create(request: Request) -> Reply:
        own, (name, value) = house.secrets_of(owner_of(request)), pair(body_of(request))
        if name in own:
            raise refused(400, "existing_key", "Key already exists (wording invented)")
        if len(own) >= MOST_SECRETS:
            raise refused(400, "max_secrets", "too many (wording invented)")
        own[name] = value
        return Reply(200, {"success": True, "msg": "Environment variable added successfully"})

    @both(site, "PUT", "/api/v0/secrets")
    def update(request: Request) -> Reply:
        own, (name, value) = house.secrets_of(owner_of(request)), pair(body_of(request))
        if name not in own:
            raise refused(400, "nonexistent_key", "No such key (wording invented)")
        own[name] = value
        return Reply(200, {"success": True, "msg": "Environment variable updated successfully"})

    @both(site, "DELETE", "/api/v0/secrets")
    def delete(request: Request) -> Reply:
        own, name = house.secrets_of(owner_of(request)), str(body_of(request).get("key") or "").upper()
        if name not in own:
            raise refused(400, "nonexistent_key", "No such key (wording invented)")
        del own[name]
        return Reply(200, {"success": True, "msg": "Environment variable deleted successfully (wording invented)"})


def pair(given: dict[str, Any]) -> tuple[str, str]:
    """Key, upper-cased, and value. Raises Refused."""
    key, value = given.get("key"), given.get("value")
    if not isinstance(key, str) or not isinstance(value, str) or not key or not value:
        raise refused(400, "missing_input", "Both 'key' and 'value' are required.")
    if len(value) > LONGEST_VALUE:
        raise refused(400, "input_too_long", "too long (wording invented)")
    if not VALUE.fullmatch(value) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
        raise refused(400, "invalid_characters", "invalid characters (wording invented)")
    return key.upper(), value
