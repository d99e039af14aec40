"""The requests of a deploy as `--dry-run` prints them: the same bodies, without the values that nobody may see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleet.offers.runpod import PROVIDER
from fleet.providers.masked import MASK, hidden, masked
from fleet.providers.runpod import registries, secrets, templates
from fleet.providers.runpod.bodies import pod_body, registry_body, secret_body, template_body
from fleet.providers.stored_secrets import stored_name
from fleet.providers.values import Container, Order, Shown


def requests(container: Container, order: Order, key: str) -> list[Shown]:
    """What `ensure_template` and `launch` would send to an account that has none of it yet. Asks nothing.

    key: the provider's, "" when there is none yet.
    """
    shown = []
    registry = None
    if container.login:
        body = registry_body(container.login, key)
        registry = f"<id of {body['name']}>"
        shown.append(post(registries.PATH, {**body, "password": MASK}, once(body["name"])))
    out: dict[str, str] = {}
    for variable, value in container.secrets.items():
        name = stored_name(variable, value)
        body = {**secret_body(name, value, variable), "value": MASK}
        shown.append(post(secrets.PATH, body, f"{once(name)}; without a secret store its value goes into env below"))
        out[variable] = secrets.reference(variable, value)
    template = template_body(container, registry)
    shown.append(post(templates.PATH, template, once(template["name"])))
    kept = order.template.key if order.template else f"<id of {template['name']}>"
    shown.append(post("/v2/pods", pod_body(order, kept, registry, out), "sent once; this one bills"))
    known = hidden(container)
    return [Shown(each.provider, each.method, each.path, masked(each.body, known), each.note) for each in shown]


def post(path: str, body: Mapping[str, Any], note: str) -> Shown:
    return Shown(PROVIDER, "POST", path, dict(body), note)


def once(name: str) -> str:
    return f"only when {name} is not there yet"
