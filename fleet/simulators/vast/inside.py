"""What is inside a container at Vast: its environment, its command, its ports (providers.md 2.5, 2.8, 2.9)."""

from __future__ import annotations

from fleet.simulators.bodies.body import Login, Spec
from fleet.simulators.machine import Machine
from fleet.simulators.vast.contract import Contract, contract_of, variables
from fleet.simulators.vast.house import House
from fleet.simulators.vast.orders import login_of

WORKSPACE = "/workspace"
FIRST_PORT = 40_000
REHEARSAL = ("STOKER_VAST_URL", "STOKER_CLOCK")  # a real container finds the real Vast.ai; one here must find this
# ssh and jupyter runtypes replace the image's entrypoint (providers.md 2.5). What Vast runs instead is its own affair;
# this does as much of it as a rehearsal needs: keys, a server for them where the image has one, then the onstart.
ENTRYPOINT = (
    'if [ -n "${SSH_PUBLIC_KEY:-}" ] && [ -n "${CONTAINER_ID:-}" ] && command -v sshd >/dev/null; then '
    'mkdir -p /root/.ssh /run/sshd && printf "%s\\n" "$SSH_PUBLIC_KEY" >> /root/.ssh/authorized_keys && '
    "chmod 700 /root/.ssh && chmod 600 /root/.ssh/authorized_keys && ssh-keygen -A >/dev/null && "
    '"$(command -v sshd)"; fi; '
)


def environment(house: House, machine: Machine) -> dict[str, str]:
    """The variables of the container: Vast's own, the account's secrets, the request's; the later wins."""
    contract = contract_of(machine)
    keys = [*(str(row["key"]) for row in house.ssh_keys if row["user_id"] == contract.owner)]
    keys += [str(row["key"]) for row in contract.keys]
    found = {
        "CONTAINER_ID": str(contract.id),
        "CONTAINER_API_KEY": contract.key,
        "VAST_CONTAINERLABEL": f"C.{contract.id}",
        "PUBLIC_IPADDR": contract.address,
        "GPU_COUNT": str(contract.ask.row["num_gpus"]),
        "SSH_PUBLIC_KEY": "\n".join(dict.fromkeys(keys)),
        "DATA_DIRECTORY": WORKSPACE,
    }
    for name, mapped in (contract.ports or {}).items():
        port, _, kind = name.partition("/")
        found[f"VAST_{kind.upper()}_PORT_{port}"] = mapped[0]["HostPort"]
    rehearsal = {name: house.url() for name in REHEARSAL if house.url()}
    return {**rehearsal, **found, **house.secrets_of(contract.owner), **variables(contract.order.env)}


def spec(house: House, machine: Machine) -> Spec:
    """What a body runs for this machine."""
    contract = contract_of(machine)
    order = contract.order
    mounts = {WORKSPACE: house.world.bodies.folder(folder(contract))}
    if contract.volume is not None and order.volume is not None:
        mounts[str(order.volume["mount_path"])] = house.world.bodies.folder(f"vast-volume-{contract.volume}")
    login = login_of(order.login or "")
    entrypoint: list[str] | None = None
    command = list(order.args)
    if not order.with_args:
        entrypoint, command = ["/bin/sh", "-c"], [f"{ENTRYPOINT}{order.onstart or ':'}\nexec sleep infinity"]
    return Spec(
        id=folder(contract),
        image=contract.image,
        env=environment(house, machine),
        entrypoint=entrypoint,
        command=command,
        mounts=mounts,
        ports=[int(name.split("/")[0]) for name in contract.inside_ports() if name.endswith("/tcp")],
        login=Login(login[0], login[1]) if login else None,
    )


def folder(contract: Contract) -> str:
    """Of its disk, while it exists; also its body's name."""
    return f"vast-{contract.id}"


def mapped(house: House, machine: Machine) -> dict[str, list[dict[str, str]]]:
    """The ports outside: random on the host, or where the body's really are."""
    contract, found = contract_of(machine), {}
    for at, name in enumerate(contract.inside_ports()):
        inside = int(name.split("/")[0])
        real = machine.body.port(inside) if machine.body is not None else None
        outside = real[1] if real else FIRST_PORT + contract.id % 1000 * 10 + at
        if inside >= 70_000:  # asks for the same number outside (providers.md 2.8)
            outside = inside
        found[name] = [{"HostIp": "0.0.0.0", "HostPort": str(outside)}]
    return found
