"""Every answer of the simulated RunPod against the provider's own specification (tests/data/specs/extract.py).

What is newer than the file (providers.md 1.2) is added by name: `pagination`, `entrypoint`, `cmd`, two fields of gpu.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.simulators.runpod import bodies
from fleet.simulators.site import Site
from tests.fleet.simulators.talking import H100, RTX, Talk, pod

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "tests/data/specs/runpod.json"
ANSWERS = "https://spec.example/"


@cache
def spec() -> Any:
    return json.loads(FILE.read_text(encoding="utf-8"))


def check(schema: Any, value: Any) -> None:
    """Raises ValidationError."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "components": spec()["components"]}
    jsonschema.Draft202012Validator(document).validate(value)


def answered(method: str, path: str, status: int) -> Any:
    """The schema of an answer; None for an answer without a body. KeyError for one the specification does not know."""
    plain = path.partition("?")[0]
    for pattern, calls in sorted(spec()["paths"].items(), key=lambda pair: "{" in pair[0]):
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", pattern), plain) and method.lower() in calls:
            responses = calls[method.lower()]["responses"]
            found = responses[str(status)] if str(status) in responses else responses["default"]
            found = spec()["components"]["responses"][found["$ref"].rpartition("/")[2]] if "$ref" in found else found
            content = found.get("content")
            return next(iter(content.values()))["schema"] if content else None
    raise KeyError(f"{method} {path}")


class Held(Talk):
    """A talk in which every answer is held against the specification."""

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        answer = super().ask(method, path, body, **more)
        schema = answered(method, path, answer.status_code)
        assert (schema is None) == (answer.content == b"")
        if schema is not None:
            check(schema, answer.json())
        return answer


@pytest.fixture
def held(runpod_site: Site) -> Iterator[Held]:
    yield Held(runpod_site.url)


def test_the_life_of_a_pod_is_as_specified(held: Held):
    volume = held.made("/v2/network-volumes", {"name": "v", "size": 10, "dataCenter": "US-KS-2"})
    registry = held.made("/v2/registries", {"name": "r", "username": "u", "password": "p"})
    held.ask("PUT", "/v2/account/ssh-keys", {"keys": ["ssh-ed25519 AAAA me"]})
    template = held.made(
        "/v2/templates", {"name": "t", "image": "i", "registry": registry["id"], "cmd": ["run"], "ports": ["22/tcp"]}
    )
    mounts = {"network": [{"volumeId": volume["id"], "path": "/workspace"}]}
    one = held.made("/v2/pods", {"name": "a", "templateId": template["id"], "gpu": {"id": H100, "count": 2},
                                 "mounts": mounts, "globalNetworking": True})  # fmt: skip
    for _ in range(9):
        held.sleep(4)
        held.get(f"/v2/pods/{one['id']}")
    held.get("/v2/pods")
    for action in ("restart", "stop", "start", "bogus"):
        held.ask("POST", f"/v2/pods/{one['id']}/action", {"action": action})
        held.sleep(60)
    held.ask("PATCH", f"/v2/pods/{one['id']}", {"disk": 60})
    held.ask("DELETE", f"/v2/pods/{one['id']}")
    held.ask("DELETE", f"/v2/pods/{one['id']}")
    for path in ("templates", "network-volumes", "registries"):
        for row in next(iter(held.get(f"/v2/{path}").values())):
            held.get(f"/v2/{path}/{row['id']}")
            held.ask("DELETE", f"/v2/{path}/{row['id']}")


def test_a_cpu_pod_and_a_pod_in_error_are_as_specified(held: Held):
    held.made("/v2/pods", {"name": "c", "image": "i", "cpu": {"id": "cpu5c", "vcpuCount": 2}})
    held.faults(error_state=True)
    held.made("/v2/pods", pod(mounts={"persistent": {"size": 10, "path": "/w"}}))
    held.sleep(60)
    assert {row["status"] for row in held.get("/v2/pods")["pods"]} == {"RUNNING", "ERROR"}


@pytest.mark.parametrize(
    "path",
    [
        "catalog/gpus", "catalog/gpus?include=AVAILABILITY&product=POD&count=2&cloud=COMMUNITY",
        f"catalog/gpus/{RTX.replace(' ', '%20')}?include=AVAILABILITY&product=POD&countryCodes=JP",
        "catalog/gpus/AMD%20Instinct%20MI300X%20OAM?include=AVAILABILITY&product=POD",
        "catalog/cpus", "catalog/cpus/cpu5c?include=AVAILABILITY&product=POD", "catalog/datacenters",
        "catalog/datacenters?include=GPU_AVAILABILITY,CPU_AVAILABILITY&regions=EUROPE", "catalog/datacenters/US-KS-2",
        "catalog/templates", "registries/delegations", "account/ssh-keys", "catalog/gpus?count=2", "catalog/gpus/none",
        "billing", "billing/pods?lastN=2", "billing/network-volumes",
    ],
)  # fmt: skip
def test_what_can_be_read_is_as_specified(held: Held, path: str):
    held.made("/v2/pods", pod())
    held.made("/v2/network-volumes", {"name": "v", "size": 10, "dataCenter": "US-KS-2"})
    held.sleep(7200)
    held.ask("GET", f"/v2/{path}")


def test_refusals_are_as_specified(held: Held):
    Held(held.url, key="").ask("GET", "/v2/pods")
    for body in ({}, pod(bogus=1), pod(gpu={"id": H100}), pod(registry="x"), {**pod(), "templateId": "x"}):
        held.ask("POST", "/v2/pods", body)
    held.admin("credit", {"usd": 0})
    held.ask("POST", "/v2/pods", pod())
    held.faults(rate_limit={"minute": 0})
    held.ask("GET", "/v2/pods")


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 40), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "a", "12.8", "22/tcp", "SECURE", "NVIDIA"]), st.just([]), st.just({}), st.just(["a"]),
    st.just({"id": "x", "count": 1}), st.just({"persistent": {"size": 10, "path": "/w"}}),
)  # fmt: skip


def fields(schema: str) -> list[str]:
    parts = spec()["components"]["schemas"][schema].get("allOf", [spec()["components"]["schemas"][schema]])
    found: list[str] = ["bogus"]
    while parts:
        part = parts[0]
        parts = parts[1:]
        if "$ref" in part:
            inner = spec()["components"]["schemas"][part["$ref"].rpartition("/")[2]]
            parts = [*inner.get("allOf", [inner]), *parts]
        found += part.get("properties", {})
    return sorted(set(found))


CHECKS = {
    "CreatePodRequest": bodies.create_pod(newer=False),
    "UpdatePodRequest": bodies.update_pod(newer=False),
    "CreateTemplateRequest": bodies.template(False, ("name", "image")),
    "UpdateTemplateRequest": bodies.template(False, ()),
    "PodActionRequest": bodies.ACTION,
    "UpdateSshKeysRequest": bodies.SSH_KEYS,
    "CreateNetworkVolumeRequest": bodies.CREATE_VOLUME,
    "UpdateNetworkVolumeRequest": bodies.UPDATE_VOLUME,
    "CreateRegistryRequest": bodies.CREATE_REGISTRY,
}
# Stricter than the file: these words stand in its prose, or in the documentation.
STRICTER = ("ports",)


@pytest.mark.parametrize("schema", CHECKS)
@settings(max_examples=40)
@given(data=st.data())
def test_a_body_is_refused_exactly_when_the_specification_refuses_it(schema: str, data: st.DataObject):
    names = [name for name in fields(schema) if name not in STRICTER]
    body = data.draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=4))
    if schema == "CreatePodRequest":
        body = {"name": "n", "image": "i", **body}
    document = {"$ref": f"#/components/schemas/{schema}", "components": spec()["components"]}
    expected = jsonschema.Draft202012Validator(document).is_valid(body)
    assert (CHECKS[schema](body, "$") == []) == expected, body
