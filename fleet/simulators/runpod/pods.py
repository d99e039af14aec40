"""Making, showing and ending pods (providers.md 1.7-1.9)."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from fleet.simulators.machine import Machine
from fleet.simulators.runpod import bodies, money, plan
from fleet.simulators.runpod.account import Account
from fleet.simulators.runpod.gate import LARGEST
from fleet.simulators.runpod.life import Lives
from fleet.simulators.runpod.pages import page
from fleet.simulators.runpod.place import Place, find, refusal, stock_key
from fleet.simulators.runpod.pod_env import injected_at_create
from fleet.simulators.runpod.problems import NO_FREE_GPU, Refused, not_found, problem
from fleet.simulators.runpod.shown import actions, shown
from fleet.simulators.site import SLOW
from fleet.simulators.wire import Reply, Request

BORN_WITH = (
    *("stuck_provisioning", "running_no_ssh", "ssh_refused", "ssh_wrong_key", "price.jump", "uptime_zero_forever"),
    *("error_state", "image_pull_minutes"),
)


class Pods:
    """The calls below /v2/pods, but for edits and logs."""

    def __init__(self, account: Account, lives: Lives) -> None:
        self.account, self.lives, self.world = account, lives, account.world

    def found(self, request: Request) -> Machine:
        """The pod of the path. Raises Refused (404)."""
        pod = self.world.found(request.parts["id"])
        if pod is None:
            raise not_found()
        return pod

    def list(self, request: Request) -> Reply:
        """Newest first (1.2)."""
        rows = [shown(self.account, pod) for pod in reversed(self.world.listed())]
        return page(self.account, request, "pods", rows)

    def show(self, request: Request) -> Reply:
        return Reply(200, shown(self.account, self.found(request)))

    def create(self, request: Request) -> Reply:
        """201 and a machine that bills, whatever the knobs then do to the answer."""
        faults = self.world.faults
        if faults.take("create.429_before") is not None:
            return problem(429, "rate limit exceeded for the minute window", headers={"Retry-After": "12"})
        if faults.take("create.5xx_before_commit") is not None:
            return problem(503, "upstream failure (wording invented)")
        body = bodies.read(request, bodies.create_pod(self.account.newer()))
        if len(body.get("env", {})) > plan.MOST_ENV:
            request.violations.append("more than 50 variables in env")
        wanted = plan.merged(self.account, body)
        if len(json.dumps(wanted)) > LARGEST and self.account.newer():
            raise Refused(413, "request body exceeds 102400 bytes (wording invented)")  # as its template expands it
        if faults.take("capacity_all_400") is not None:
            raise refusal(self.account)
        place = find(self.account, wanted, plan.volume_centre(self.account, wanted))
        self._check_money(wanted)
        injected_at_create(self.account, wanted)
        pod = self._commit(wanted, place)
        if faults.take("list.duplicate_tag") is not None:
            self._commit(wanted, place)
        return self._answer(pod)

    def delete(self, request: Request) -> Reply:
        return self._terminate(request)

    def act(self, request: Request) -> Reply:
        """409 for what the pod's `actions` do not hold."""
        action = bodies.read(request, bodies.ACTION)["action"]
        pod = self.found(request)
        if action == "terminate":
            return self._terminate(request)
        if action not in actions(self.account, pod) or (pod.facts["locked"] and action in ("stop", "restart")):
            raise Refused(409, "action not valid for current pod status (wording invented)")
        if action == "stop":
            self.lives.stop(pod)
        elif action == "restart":
            self.lives.restart(pod)
        else:
            self._start(pod)
        return Reply(200, shown(self.account, pod))

    def _start(self, pod: Machine) -> None:
        """A stopped pod is bound to its machine, whose GPUs may be taken (1.10)."""
        kind, count = _needs(pod.facts)
        key = stock_key(pod.facts["cloud"], kind, pod.facts["centre"])
        lacking = self.world.faults.take("start_without_gpu") is not None
        if lacking or not (pod.stock or self.world.take_stock(pod, key, count)):
            raise Refused(400, NO_FREE_GPU)
        self._check_money(pod.facts)
        self.lives.begin(pod)

    def _terminate(self, request: Request) -> Reply:
        faults = self.world.faults
        if faults.take("destroy.429") is not None:
            return problem(429, "rate limit exceeded for the minute window", headers={"Retry-After": "2"})
        if faults.take("destroy.5xx") is not None:
            return problem(503, "upstream failure (wording invented)")
        pod = self.found(request)
        lie = faults.take("destroy.404")  # {"alive": true}: the pod lives on
        if lie is None or not lie.get("alive"):
            self.lives.end(pod, f"terminated by {'itself' if request.caller == pod.id else 'the user'}")
        if lie is not None:
            raise not_found()
        return Reply(204, drop=faults.take("destroy.lost_answer") is not None)

    def _check_money(self, wanted: dict[str, Any]) -> None:
        """One hour of the chosen configuration must be there (1.7)."""
        rate = sum(money.running({**wanted, "price": money.listed(wanted)}).values(), Decimal(0))
        if self.world.credit < rate:
            raise Refused(402, "insufficient balance (wording invented)")

    def _commit(self, wanted: dict[str, Any], place: Place) -> Machine:
        account, pod_id = self.account, self.account.new_id()
        quirks = self.world.faults.deal(BORN_WITH)
        jump = Decimal(str(quirks.get("price.jump", {}).get("factor", 2 if "price.jump" in quirks else 1)))
        facts: dict[str, Any] = {
            **{name: wanted[name] for name in ("name", "image", "args", "disk", "ports", "env", "registry", "mounts")},
            "cloud": wanted["cloud"],
            "gpu": wanted.get("gpu"),
            "cpu": _cpu(wanted),
            "template": wanted.get("templateId") if self._shows_template() else None,
            "made_from": wanted.get("templateId"),
            "networking": wanted["globalNetworking"],
            "price": money.listed(wanted) * jump,
            "centre": place.centre,
            "cuda": place.cuda,
            "key": f"rpa_pod_{account.new_id(24)}",
            "user": account.new_id(8),
            **{"boot": 0, "locked": False, "placed": False, "ready": None, "started": None, "log": [], "seen": None},
        }
        pod = self.world.commit(pod_id, wanted["name"], wanted["env"], facts, "PROVISIONING")
        pod.quirks |= quirks
        self.world.take_stock(pod, *place.stock)
        account.pod_keys[facts["key"]] = pod_id
        self.lives.begin(pod)
        return pod

    def _shows_template(self) -> bool:
        return self.world.faults.take("template_id_shown") is not None

    def _answer(self, pod: Machine) -> Reply:
        """The 201, or what a knob makes of it: the pod exists in every case."""
        faults, about = self.world.faults, {"tag": pod.tag}
        reply = Reply(201, shown(self.account, pod))
        if faults.take("create.drop_after_commit", **about) is not None:
            reply.drop = True
        elif faults.take("create.5xx_after_commit", **about) is not None:
            reply = problem(500, "upstream failure (wording invented)")
        elif (bad := faults.take("create.bad_2xx", **about)) is not None:
            if bad.get("no_id"):
                del reply.body["id"]
            else:
                reply.raw = reply.bytes()[: len(reply.bytes()) // 2]
        if (slow := faults.take("create.slow", **about)) is not None:
            reply.slow = float(slow.get("seconds", SLOW))
        return reply


def _needs(facts: dict[str, Any]) -> tuple[str, int]:
    if facts.get("gpu"):
        return str(facts["gpu"]["id"]), int(facts["gpu"]["count"])
    return str(facts["cpu"]["id"]), int(facts["cpu"]["vcpuCount"])


def _cpu(wanted: dict[str, Any]) -> dict[str, Any] | None:
    """A CPU pod's answer adds its memory: vCPU times the flavour's ratio."""
    from fleet.simulators.runpod.catalogue import CPUS

    cpu = wanted.get("cpu")
    return None if cpu is None else {**cpu, "memory": max(1, int(cpu["vcpuCount"] * CPUS[cpu["id"]].ram))}
