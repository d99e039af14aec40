"""The arguments of `docker run`, as far as a rented machine is given them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

# flags with a value of their own word, unless it stands behind "="
VALUED = {
    *("--name", "--env-file", "--env", "-e", "--label", "-l", "--gpus", "--ipc", "--ulimit", "--restart", "--volume"),
    *(
        "-v",
        "--publish",
        "-p",
        "--network",
        "--runtime",
        "--workdir",
        "-w",
        "--entrypoint",
        "--user",
        "-u",
        "--shm-size",
    ),
    *("--mount", "--hostname", "-h", "--cpus", "--memory", "-m", "--pull", "--device", "--cap-add", "--log-opt"),
    *("--stop-timeout", "--log-driver", "--add-host", "--tmpfs", "--cidfile", "--platform"),
}
PLAIN = {
    "--detach",
    "-d",
    "--rm",
    "--init",
    "--privileged",
    "--interactive",
    "-i",
    "--tty",
    "-t",
    "-dit",
    "--read-only",
}


class Unknown(ValueError):
    """A flag that `docker run` does not have, or that is not known here."""


@dataclass
class Run:
    """A parsed `docker run`. flags: (name, value), value None for a plain one, in their order."""

    flags: list[tuple[str, str | None]] = field(default_factory=list)
    image: str = ""
    command: list[str] = field(default_factory=list)

    def all(self, *names: str) -> list[str]:
        """The values of these flags."""
        return [value for name, value in self.flags if name in names and value is not None]

    def one(self, *names: str) -> str:
        return next(iter(self.all(*names)), "")


def parse(arguments: Sequence[str]) -> Run:
    """What follows `docker run`. Raises Unknown."""
    words, found = list(arguments), Run()
    while words and words[0].startswith("-"):
        name, equals, value = words.pop(0).partition("=")
        if name in VALUED:
            if not equals and not words:
                raise Unknown(f"flag needs an argument: {name}")
            found.flags.append((name, value if equals else words.pop(0)))
        elif name in PLAIN:
            found.flags.append((name, None))
        else:
            raise Unknown(f"unknown flag: {name}")
    if not words:
        raise Unknown('"docker run" requires at least 1 argument.')
    found.image, found.command = words[0], words[1:]
    return found


def environment(run: Run, own: dict[str, str]) -> dict[str, str]:
    """The container's variables: files first, then --env; one without "=" is taken from `own`."""
    found: dict[str, str] = {}
    for path in run.all("--env-file"):
        with Path(path).open(encoding="utf-8") as lines:
            for line in lines:
                line = line.rstrip("\n")
                if line.strip() and not line.lstrip().startswith("#"):
                    name, equals, value = line.partition("=")
                    found |= {name: value} if equals else {name: own[name]} if name in own else {}
    for word in run.all("--env", "-e"):
        name, equals, value = word.partition("=")
        found |= {name: value} if equals else {name: own[name]} if name in own else {}
    return found


def rehearsed(run: Run, disk: str, labels: dict[str, str], gpus: bool, limits: bool = True) -> list[str]:
    """The arguments for a real engine that this machine shares with others: volumes on the rented disk, this machine's
    network instead of published ports, no GPUs where there are none, no `limits` where none may be raised."""
    kept: list[str] = []
    for name, value in run.flags:
        if name in ("--publish", "-p", "--network") or (name in ("--gpus", "--runtime") and not gpus):
            continue
        if name == "--ulimit" and not limits:
            continue
        if name in ("--volume", "-v") and value and value.startswith("/"):
            value = f"{disk}{value}"
        kept += [name] if value is None else [name, value]
    for name, value in labels.items():
        kept += ["--label", f"{name}={value}"]
    return [*kept, "--network", "host", run.image, *run.command]
