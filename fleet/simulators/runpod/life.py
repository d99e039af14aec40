"""A pod's life: PROVISIONING, STARTING, RUNNING without and then with its runtime, EXITED and back; gone at the end.

What a pod does depends on virtual time and, where bodies are real, on its body too: it is RUNNING when both are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fleet.simulators.bodies.body import GRACE, Spec
from fleet.simulators.disembody import disembody
from fleet.simulators.embody import embody
from fleet.simulators.machine import Machine
from fleet.simulators.runpod import money, words
from fleet.simulators.runpod.account import Account
from fleet.simulators.runpod.pod_env import environment

ALLOCATE, START, READY = 5.0, 20.0, 5.0  # virtual seconds (invented)
PAUSE = 5.0  # before a body is started again (knob body_exit_restarts)
LIVE = ("PROVISIONING", "STARTING", "RUNNING")


class Lives:
    """Takes the pods of one account through their states. All methods but `take_lines` want the world's lock held."""

    def __init__(self, account: Account) -> None:
        self.account, self.world = account, account.world

    def say(self, pod: Machine, text: str) -> None:
        """A line of the system log."""
        pod.facts["log"].append((self.world.stamp(), "system", text))

    def begin(self, pod: Machine) -> None:
        """From the 201 on, or from a start after a stop."""
        facts = pod.facts
        facts["boot"] += 1
        facts.update(ready=None, started=None)
        pod.state = "PROVISIONING"
        self.price(pod)
        if "stuck_provisioning" not in pod.quirks:
            self._later(pod, ALLOCATE, lambda: self._starting(pod))

    def price(self, pod: Machine) -> None:
        """From now on it costs what its state and its disks say."""
        rates = money.running(pod.facts) if pod.state in LIVE else money.stopped(pod.facts)
        self.world.charge(pod.meter, rates)

    def stop(self, pod: Machine, state: str = "EXITED", grace: float = GRACE) -> None:
        """The body ends, the GPU is free for others, the volume stays and bills."""
        pod.facts["boot"] += 1
        pod.facts["ready"] = None
        pod.state = state
        disembody(pod, grace)
        self.world.give_back(pod)
        self.price(pod)

    def restart(self, pod: Machine) -> None:
        """A new container on the same machine: everything outside the volume is wiped."""
        disembody(pod)
        pod.facts["boot"] += 1
        pod.facts["ready"] = None
        self._starting(pod)

    def end(self, pod: Machine, why: str, gently: bool = True) -> None:
        """Gone for good."""
        self.account.pod_keys.pop(pod.facts["key"], None)
        pod.state = "TERMINATED"
        self.world.end(pod, why, gently)

    def broke(self) -> None:
        """The credit is at its end: pods without a network volume are terminated, the others stopped (1.14, 0.2)."""
        for pod in list(self.world.living.values()):
            if pod.facts["mounts"].get("network"):
                if pod.state in LIVE:
                    self.say(pod, "stopped: insufficient balance")
                    self.stop(pod)
            else:
                self.end(pod, "out of credit")

    def _later(self, pod: Machine, seconds: float, act: Callable[[], None]) -> None:
        """`act` unless the pod was stopped, restarted or ended meanwhile."""
        boot = pod.facts["boot"]
        self.world.after(seconds, lambda: act() if pod.facts["boot"] == boot else None, pod)

    def _starting(self, pod: Machine) -> None:
        facts, pull = pod.facts, pod.quirks.get("image_pull_minutes")
        pod.state, facts["placed"] = "STARTING", True
        self.say(pod, f"create container {facts['image']}")
        if "error_state" in pod.quirks:
            self._later(pod, START, lambda: self._error(pod, "container could not be created"))
            return
        waiting = {"time", "body"}

        def done(part: str) -> None:
            waiting.discard(part)
            if not waiting and pod.state == "STARTING":
                self._run(pod)

        boot = facts["boot"]
        self._later(pod, START + 60 * float((pull or {}).get("minutes", 10 if pull else 0)), lambda: done("time"))
        embody(
            self.world,
            pod,
            self._spec(pod),
            started=lambda: done("body") if facts["boot"] == boot else None,
            failed=lambda told: self._failed(pod, told),
            exited=lambda code: self._exited(pod, code),
        )

    def _run(self, pod: Machine) -> None:
        pod.state = "RUNNING"
        pod.facts["started"] = self.world.now
        self.say(pod, "start container")
        if "uptime_zero_forever" not in pod.quirks:
            self._later(pod, READY, lambda: pod.facts.update(ready=self.world.now))

    def _failed(self, pod: Machine, told: str) -> None:
        """An image that cannot be had is tried for ever; a command that cannot be run is an error (both invented)."""
        self.say(pod, f"error creating container: {told}")
        if "executable file not found" in told or "OCI runtime" in told:
            self._error(pod, told)

    def _error(self, pod: Machine, told: str) -> None:
        self.say(pod, told)
        self.stop(pod, "ERROR")

    def _exited(self, pod: Machine, code: int) -> None:
        self.take_lines(pod)
        self.say(pod, f"container exited with code {code}")
        if self.world.faults.take("body_exit_restarts") is not None:
            disembody(pod)
            self._later(pod, PAUSE, lambda: self.restart(pod))
        else:
            self.stop(pod)

    def take_lines(self, pod: Machine) -> None:
        """What the body wrote since the last look goes into the pod's log."""
        body = pod.body
        if body is None:
            return
        lines = body.lines(pod.facts["seen"])  # may wait for the engine, so without the lock where nobody holds it
        with self.world.lock:
            for line in lines:
                if pod.facts["seen"] is None or line.at > pod.facts["seen"]:
                    pod.facts["log"].append((line.at, "container", line.text))
                    pod.facts["seen"] = line.at

    def _spec(self, pod: Machine) -> Spec:
        facts, mounts = pod.facts, dict[str, Path]()
        if self.world.bodies.real:
            if "persistent" in facts["mounts"]:
                pod.folder = pod.id
                mounts[facts["mounts"]["persistent"]["path"]] = self.world.bodies.folder(pod.id)
            for mount in facts["mounts"].get("network", []):
                mounts[mount["path"]] = self.world.bodies.folder(f"network-{mount['volumeId']}")
        entrypoint, command = words.read(facts["args"])
        login = self.account.registries.get(facts["registry"] or "")
        ports = [int(port.partition("/")[0]) for port in facts["ports"]]
        env = environment(self.account, pod) if self.world.bodies.real else {}
        return Spec(pod.id, facts["image"], env, entrypoint, command, mounts, ports, login[1] if login else None)
