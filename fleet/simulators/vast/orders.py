"""The body of a create (providers.md 2.5), checked field by field, and what it asks for once its template is in it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from fleet.simulators.vast import prices
from fleet.simulators.vast.queries import number
from fleet.simulators.vast.refusals import invalid

RUNTYPES = ("ssh", "jupyter", "args", "ssh_proxy", "ssh_direct", "jupyter_proxy", "jupyter_direct")
# what the official client sends (providers.md 2.5); "direc" is its spelling
COMPOSITE = ("ssh_direc", "ssh_proxy", "jupyter_direc", "jupyter_proxy", "ssh", "jupyter")
LONGEST = {"image": 1024, "label": 256}
SCRIPT = 4096  # args, args_str and onstart together (source piece of the spec)
ENTRY, ENVIRONMENT = 256, 32768  # the same source: per entry (presumably), and in all
LEAST_DISK, DISK = 8, 10
LEAST_BID, MOST_BID = Decimal("0.001"), Decimal(128)

TEXTS = ("image", "template_hash_id", "label", "runtype", "onstart", "args_str", "jupyter_dir", "user", "image_login")
SWITCHES = ("cancel_unavail", "vm", "use_jupyter_lab", "python_utf8", "lang_utf8", "force")
KNOWN = {*TEXTS, *SWITCHES, "client_id", "disk", "target_state", "price", "env", "args", "volume_info", "extra", "ids"}


@dataclass(frozen=True)
class Order:
    """One create. bid None: on demand, whatever was searched for. env: variables and "-p 80:80" port flags."""

    image: str | None
    template: str | None
    disk: Decimal
    label: str | None
    runtype: str | None
    onstart: str | None
    args: tuple[str, ...]
    env: Mapping[str, str]
    bid: Decimal | None
    stopped: bool
    cancel: bool | None
    login: str | None
    volume: Mapping[str, Any] | None
    vm: bool

    @property
    def cancels(self) -> bool:
        """cancel_unavail with its defaults: true for on-demand that shall run, false for bids."""
        return self.cancel if self.cancel is not None else self.bid is None and not self.stopped

    @property
    def direct(self) -> bool:
        """Whether the host opens ports of its own for it."""
        return "direc" in (self.runtype or "")

    @property
    def with_args(self) -> bool:
        """The image's own entrypoint, no SSH (providers.md 2.5)."""
        return self.runtype == "args"


def parse(body: Any, ask: int) -> tuple[Order, list[str]]:
    """The body as an order, and the field names that no documentation has. null means not given.

    Raises Refused (400, invalid_args) for what the rules forbid.
    """
    if not isinstance(body, dict):
        raise invalid("Invalid args: the body is an object", ask)
    given = {name: value for name, value in body.items() if value is not None}
    check_types(given, ask)
    disk, bid = given.get("disk"), given.get("price")
    order = Order(
        image=given.get("image") or None,
        template=given.get("template_hash_id") or None,
        disk=Decimal(DISK) if disk is None else sized(disk, ask),
        label=given.get("label"),
        runtype=given.get("runtype") or ("args" if "args" in given or "args_str" in given else None),
        onstart=given.get("onstart"),
        args=tuple(given.get("args") or shlex.split(given.get("args_str") or "")),
        env=environment(given.get("env"), ask),
        bid=None if bid is None else offered(bid, ask),
        stopped=given.get("target_state") == "stopped",
        cancel=given.get("cancel_unavail"),
        login=given.get("image_login") or None,
        volume=attached(given.get("volume_info"), ask),
        vm=bool(given.get("vm")),
    )
    if order.login is not None and not login_of(order.login):
        raise invalid("Invalid args: image_login", ask)
    return order, sorted(set(body) - KNOWN)


def check_types(given: Mapping[str, Any], ask: int) -> None:
    """Types and lengths of what was given."""
    for name in TEXTS:
        if name in given and not isinstance(given[name], str):
            raise invalid(f"Invalid args: {name} is a string", ask)
    for name in SWITCHES:
        if name in given and not isinstance(given[name], bool):
            raise invalid(f"Invalid args: {name} is a boolean", ask)
    for name, most in LONGEST.items():
        if len(given.get(name, "")) > most:
            raise invalid(f"Invalid args: {name} is longer than {most}", ask)
    if given.get("target_state", "running") not in ("running", "stopped"):
        raise invalid("Invalid args: target_state", ask)
    args = given.get("args", [])
    if not isinstance(args, list) or not all(isinstance(each, str) for each in args):
        raise invalid("Invalid args: args is a list of strings", ask)
    if not runtype_known(given.get("runtype", "ssh")):
        raise invalid("Invalid args: runtype", ask)
    if "args" in given and given.get("runtype", "args") != "args" and given["args"]:
        raise invalid("Invalid args: args only goes with runtype args", ask)
    script = sum(len(each) for each in args) + len(given.get("args_str", "")) + len(given.get("onstart", ""))
    if script > SCRIPT:
        raise invalid(f"Invalid args: args and onstart are longer than {SCRIPT}", ask)


def runtype_known(runtype: str) -> bool:
    return runtype in RUNTYPES or (all(part in COMPOSITE for part in runtype.split()) and bool(runtype.split()))


def sized(disk: Any, ask: int) -> Decimal:
    """At least 8 GB; numbers may travel as text."""
    gb = number(disk)
    if gb is None or gb < LEAST_DISK:
        raise invalid(f"Invalid args: disk is at least {LEAST_DISK} GB", ask)
    return prices.read(disk)


def offered(price: Any, ask: int) -> Decimal:
    """A bid, USD/h of the slice."""
    usd = number(price)
    if usd is None or not LEAST_BID <= prices.read(price) <= MOST_BID:
        raise invalid("Please set a bid price >= 0.001.", ask)
    return prices.read(price)


def environment(env: Any, ask: int) -> dict[str, str]:
    """The object of variables and port flags (the spec's string form is wrong, but taken as docker flags too)."""
    if env is None or env == "":
        return {}
    if isinstance(env, str):
        try:
            env = flags(env)
        except ValueError:
            raise invalid("Invalid args: env", ask) from None
    if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
        raise invalid("Invalid args: env is an object of strings", ask)
    for name in env:
        if name.startswith("-") and name.split(None, 1)[0] not in ("-e", "-h", "-p"):
            raise invalid(f"Invalid args: env: only -e, -h and -p are taken, not {name.split(None, 1)[0]}", ask)
        if len(name) + len(env[name]) > ENTRY:
            raise invalid(f"Invalid args: an entry of env is longer than {ENTRY}", ask)
    if sum(len(name) + len(value) for name, value in env.items()) > ENVIRONMENT:
        raise invalid(f"Invalid args: env is longer than {ENVIRONMENT}", ask)
    return dict(env)


def flags(text: str) -> dict[str, str]:
    """Docker's flags as a template keeps them, "-e A=1 -p 80:80 -h name". Raises ValueError."""
    words, found = shlex.split(text), {}
    while words:
        flag = words.pop(0)
        if flag not in ("-e", "--env", "-p", "-h") or not words:
            raise ValueError(flag)
        value = words.pop(0)
        if flag in ("-e", "--env"):
            name, _, content = value.partition("=")
            found[name] = content
        else:
            found[f"{flag} {value}"] = "1"
    return found


def login_of(text: str) -> tuple[str, str, str] | None:
    """User, password and registry of "-u user -p pass registry-host"; None when it is not of this form."""
    words = text.split()
    if len(words) != 5 or words[0] != "-u" or words[2] != "-p":
        return None
    return words[1], words[3], words[4]


def attached(volume: Any, ask: int) -> dict[str, Any] | None:
    """A volume to make or to link."""
    if volume is None:
        return None
    if not isinstance(volume, dict) or not isinstance(volume.get("create_new"), bool):
        raise invalid("Invalid args: volume_info", ask)
    if number(volume.get("volume_id")) is None or not str(volume.get("mount_path") or "").startswith("/"):
        raise invalid("Invalid args: volume_info takes volume_id and an absolute mount_path", ask)
    if volume["create_new"] and (number(volume.get("size")) or 0) < 1:
        raise invalid("Invalid args: volume_info.size", ask)
    return dict(volume)


def with_template(order: Order, template: Mapping[str, Any], given: Mapping[str, Any], ask: int) -> Order:
    """The order with what its template says: scalars of the request win, env merges key by key (providers.md 2.5)."""
    try:
        base = flags(template.get("env") or "")
    except ValueError:
        raise invalid("Invalid args: the template's env", ask) from None
    tag = template.get("tag")
    image = f"{template['image']}:{tag}" if tag and "@" not in template["image"] else template["image"]
    args = order.args or tuple(shlex.split(template.get("args_str") or ""))
    disk = order.disk
    if given.get("disk") is None and number(template.get("recommended_disk_space")):
        disk = max(Decimal(LEAST_DISK), prices.read(template["recommended_disk_space"]))
    return replace(
        order,
        image=order.image or image,
        disk=disk,
        runtype=order.runtype or template_runtype(template),
        onstart=order.onstart if order.onstart is not None else template.get("onstart"),
        args=args,
        env={**base, **order.env},
        login=order.login or template_login(template),
    )


def template_runtype(template: Mapping[str, Any]) -> str:
    kind = str(template.get("runtype") or "args")
    if kind == "ssh" and template.get("ssh_direct"):
        return "ssh_direct"
    return "jupyter_direct" if kind == "jupyter" and template.get("jup_direct") else kind


def template_login(template: Mapping[str, Any]) -> str | None:
    user, word, repo = (template.get(f"docker_login_{name}") for name in ("user", "pass", "repo"))
    return f"-u {user} -p {word} {repo}" if user and word and repo else None
