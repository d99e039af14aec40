"""RunPod, put together: every call of REST v2 that a renter of pods needs, on one world."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from fleet.simulators.bodies.body import Bodies
from fleet.simulators.clock import VirtualClock
from fleet.simulators.faults import Faults
from fleet.simulators.runpod import graphql, logs
from fleet.simulators.runpod.account import Account
from fleet.simulators.runpod.billing import Billing
from fleet.simulators.runpod.catalogue_calls import Catalogue
from fleet.simulators.runpod.edit import edit
from fleet.simulators.runpod.gate import Gate
from fleet.simulators.runpod.invented import INVENTED, KNOBS
from fleet.simulators.runpod.life import LIVE, Lives
from fleet.simulators.runpod.pods import Pods
from fleet.simulators.runpod.problems import Refused
from fleet.simulators.runpod.storage import Registries, Secrets, SshKeys, Volumes
from fleet.simulators.runpod.templates import Templates
from fleet.simulators.site import Answer, Site
from fleet.simulators.wire import Reply, Request
from fleet.simulators.world import CREDIT, World


def open_site(clock: VirtualClock, bodies: Bodies, seed: int = 0, credit: Decimal = CREDIT) -> Site:
    """The provider, ready to be served (fleet/simulators/server.py)."""
    world = World("runpod", clock, Faults(KNOBS, seed), bodies, seed, credit)
    account = Account(world)
    lives, gate = Lives(account), Gate(account)
    world.on_broke = lives.broke
    site = Site(world, gate.guard, gate.missing, INVENTED, gate.finish)
    pods = Pods(account, lives)
    calls: dict[tuple[str, str], Answer] = {
        ("GET", "/v2/pods"): pods.list,
        ("POST", "/v2/pods"): pods.create,
        ("GET", "/v2/pods/{id}"): pods.show,
        ("DELETE", "/v2/pods/{id}"): pods.delete,
        ("POST", "/v2/pods/{id}/action"): pods.act,
        ("PATCH", "/v2/pods/{id}"): lambda request: edit(account, lives, pods.found(request), request),
        ("GET", "/v2/pods/{id}/logs"): lambda request: logs.stream(lives, pods.found(request), request),
        ("POST", "/graphql"): lambda request: graphql.answer(account, request),
        **_kept(account),
        **_read(account),
    }
    for (method, path), call in calls.items():
        site.route(method, path)(_refusing(account, site, call))
    site.admin |= {
        "preempt": lambda sent: _preempt(lives, sent),
        "keys": lambda sent: _keys(account, sent),
    }
    return site


def _kept(account: Account) -> dict[tuple[str, str], Answer]:
    """What a user keeps: templates, volumes, credentials."""
    templates, volumes, registries = Templates(account), Volumes(account), Registries(account)
    keys, secrets = SshKeys(account), Secrets(account)
    calls: dict[tuple[str, str], Answer] = {
        ("GET", "/v2/catalog/templates"): templates.official,
        ("GET", "/v2/registries/delegations"): registries.no_delegations,
        ("GET", "/v2/account/ssh-keys"): keys.show,
        ("PUT", "/v2/account/ssh-keys"): keys.replace,
        ("GET", "/v2/registries"): registries.list,
        ("POST", "/v2/registries"): registries.create,
        ("GET", "/v2/registries/{id}"): registries.show,
        ("DELETE", "/v2/registries/{id}"): registries.delete,
    }
    one: dict[str, Templates | Volumes | Secrets] = {
        "templates": templates, "network-volumes": volumes, "secrets": secrets
    }  # fmt: skip
    for name, kind in one.items():
        calls |= {
            ("GET", f"/v2/{name}"): kind.list,
            ("POST", f"/v2/{name}"): kind.create,
            ("GET", f"/v2/{name}/{{id}}"): kind.show,
            ("PATCH", f"/v2/{name}/{{id}}"): kind.edit,
            ("DELETE", f"/v2/{name}/{{id}}"): kind.delete,
        }
    return calls


def _read(account: Account) -> dict[tuple[str, str], Answer]:
    """What can only be read."""
    catalogue, billing = Catalogue(account), Billing(account)
    return {
        ("GET", "/v2/catalog/gpus"): catalogue.gpus,
        ("GET", "/v2/catalog/gpus/{id}"): catalogue.gpu,
        ("GET", "/v2/catalog/cpus"): catalogue.cpus,
        ("GET", "/v2/catalog/cpus/{id}"): catalogue.cpu,
        ("GET", "/v2/catalog/datacenters"): catalogue.centres,
        ("GET", "/v2/catalog/datacenters/{id}"): catalogue.centre,
        ("GET", "/v2/billing"): billing.everything,
        ("GET", "/v2/billing/pods"): billing.pods,
        ("GET", "/v2/billing/network-volumes"): billing.volumes,
        ("GET", "/v2/billing/serverless"): billing.nothing,
        ("GET", "/v2/billing/endpoints"): billing.nothing,
        ("GET", "/v2/billing/clusters"): billing.nothing,
    }


def _refusing(account: Account, site: Site, call: Answer) -> Answer:
    """A Refused becomes its problem."""

    def answered(request: Request) -> Reply:
        account.url = site.url
        try:
            return call(request)
        except Refused as refused:
            return refused.reply

    return answered


def _preempt(lives: Lives, sent: dict[str, Any]) -> dict[str, Any]:
    """A host is lost: {"id": ..., "how": "exited" | "error" | "gone"}; without an id, any pod that lives."""
    world = lives.world
    living = {pod.id: pod for pod in world.living.values() if pod.state in LIVE}
    pod_id = sent.get("id") or (world.rng.choice(list(living)) if living else "")
    if pod_id not in living:
        raise ValueError(f"no such living pod: {pod_id!r}")
    pod, how = living[pod_id], sent.get("how", "exited")
    if how not in ("exited", "error", "gone"):
        raise ValueError("how: exited, error or gone")
    lives.take_lines(pod)
    if how == "gone":
        lives.end(pod, "host lost", gently=False)
    else:
        lives.say(pod, "the host was lost")
        lives.stop(pod, how.upper(), grace=0)
    return {"id": pod.id, "tag": pod.tag, "state": pod.state}


def _keys(account: Account, sent: dict[str, Any]) -> dict[str, Any]:
    """{"accept": [...] | null} and {"refuse": [...]}: which keys are let in. Keys are not shown."""
    if "accept" in sent:
        account.accepted = None if sent["accept"] is None else set(sent["accept"])
    account.refused |= set(sent.get("refuse", []))
    return {"accepted": None if account.accepted is None else len(account.accepted), "refused": len(account.refused)}
