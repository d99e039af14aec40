"""Logs and commands: their output stands behind a signed address that is not there yet at first, and that refuses a
second authentication (providers.md 2.6)."""

from __future__ import annotations

from fleet.simulators.machine import Machine
from fleet.simulators.site import Site
from fleet.simulators.vast.answers import body_of, both, owner_of
from fleet.simulators.vast.contract import contract_of
from fleet.simulators.vast.house import House
from fleet.simulators.vast.listing import own
from fleet.simulators.vast.queries import number
from fleet.simulators.vast.refusals import Refused, refused
from fleet.simulators.wire import Reply, Request

PATH = "/vast-results/"  # no host of its own on loopback: this path needs no key
LONGEST, USUAL = 512, 1000
DENIED = (
    b'<?xml version="1.0"?><Error><Code>InvalidArgument</Code>'
    b"<Message>Only one auth mechanism allowed (wording invented)</Message></Error>"
)


def open_results(site: Site, house: House) -> None:
    """Registers the routes."""

    @both(site, "PUT", "/api/v0/instances/request_logs/{id}")
    def logs(request: Request) -> Reply:
        given = body_of(request)
        for name in given:
            if name not in ("tail", "filter", "daemon_logs"):
                request.violations.append(f"logs: no field {name}")
        machine = own(house, owner_of(request), request.parts["id"])
        if machine is None:
            raise Refused(404, {"error": "invalid_id", "msg": "Invalid instance id."})
        lines = log_lines(machine, daemon=str(given.get("daemon_logs") or "").lower() == "true")
        words = str(given.get("filter") or "")
        kept = [line for line in lines if words in line]
        tail = number(given.get("tail"))
        count = USUAL if tail is None else max(0, int(tail))
        text = "".join(f"{line}\n" for line in kept[len(kept) - min(count, len(kept)) :])
        return Reply(200, {"success": True, "result_url": kept_at(house, text), "msg": ""})

    @both(site, "PUT", "/api/v0/instances/command/{id}")
    def execute(request: Request) -> Reply:
        given = body_of(request, refused(483, "invalid_args", "Invalid json_body"))
        command = given.get("command")
        if not isinstance(command, str) or not command or len(command) > LONGEST:
            raise refused(400, "invalid_args", "Invalid command given.")
        machine = own(house, owner_of(request), request.parts["id"])
        if machine is None:
            raise refused(400, "invalid_container_id", "Invalid container id. (wording invented)")
        text = f"not run: the simulator has no shell there (invented): {command}\n"
        answer = {"success": True, "writeable_path": "/workspace", "result_url": kept_at(house, text), "msg": "queued"}
        return Reply(200, answer)

    @both(site, "GET", PATH + "{name}")
    def result(request: Request) -> Reply:
        xml = {"Content-Type": "application/xml"}
        if "authorization" in request.headers:
            return Reply(400, raw=DENIED, headers=xml)
        text, wait = house.results.get(request.parts["name"], ("", 1))
        if request.parts["name"] not in house.results or wait > 0:
            if request.parts["name"] in house.results:
                house.results[request.parts["name"]] = (text, wait - 1)
            return Reply(404, raw=b"<Error><Code>NoSuchKey</Code></Error>", headers=xml)
        return Reply(200, raw=text.encode(), headers={"Content-Type": "text/plain; charset=utf-8"})


def kept_at(house: House, text: str) -> str:
    """The address of a text, which answers 404 a few times first."""
    name = f"{house.world.rng.getrandbits(128):032x}.log"
    house.results[name] = (text, house.timing.logs)
    while len(house.results) > 200:
        del house.results[next(iter(house.results))]
    return f"{house.url()}{PATH}{name}"


def log_lines(machine: Machine, daemon: bool) -> list[str]:
    """What the container wrote, or what the daemon says of it."""
    contract = contract_of(machine)
    if daemon:
        return [f"daemon: {contract.actual}", f"daemon: {contract.message or ''}"]
    if machine.body is not None and (lines := machine.body.lines()):
        return [line.text for line in lines]
    if contract.log:
        return contract.log
    return [] if contract.begun is None else [f"container {contract.id} runs {contract.image} (invented line)"]
