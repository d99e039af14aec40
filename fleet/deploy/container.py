"""What runs on the rented machine: the image, its command, its variables; secrets apart from everything else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import TYPE_CHECKING, Any

from fleet.deploy.candidates import Priced
from fleet.deploy.image import Chosen
from fleet.deploy.needs import Needs
from fleet.deploy.place import placed
from fleet.ledger.values import Limits
from fleet.providers.values import Container
from profiles.errors import WrongInput

if TYPE_CHECKING:
    from fleet.providers.values import Volume
    from profiles.schema import Profile

RUN = "/opt/stoker/bin/run"  # the image's own command; named when flags follow it
KEEP_MINUTES = "15"  # after a failure, to look at it
SCHEMES = ("hf", "gs", "s3", "ssh", "file")  # templates/run/settings
PUBLIC = ("id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub")
# type, base64, comment: what sshd reads. A private key, a path or a fingerprint is none (providers.md 1.12).
KEY = re.compile(r"(?:ssh|ecdsa|sk)-[\w.@-]+ [A-Za-z0-9+/]+=*(?: [^\r\n]*)?")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything of a run's container that does not depend on the machine. secrets: in no repr, never stored; flags:
    for the run script on a machine that no plan was made for."""

    run: str
    image: Chosen
    limits: Limits
    remote: str = ""
    public_key: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: tuple[str, ...] = ("22/tcp",)
    mount: str = "/workspace"
    cuda: str = ""
    flags: tuple[str, ...] = ()
    volume: str = ""  # id of one that exists already
    traffic: Decimal = Decimal(0)  # USD that `limits` leave out already

    def on(self, machine: Priced, now: datetime | None = None) -> Container:
        """The container for one machine: its price is known, so the run can count its own dollars.

        now: when it is ordered; the keeper in the container (templates/run/keeper.py) ends the machine when its hours
        are over. It also ends it when the run has ended, but only where something outlives the machine.
        """
        flags = machine.estimate.flags if machine.estimate else self.flags
        outlives = self.remote or self.volume
        limits = self.on_top(self.limits, machine)
        per_gpu = machine.usd_hour / machine.offer.count if machine.offer.count else machine.usd_hour
        told = {
            "STOKER_RUN": self.run,
            "STOKER_IMAGE": self.image.reference,
            "MODEL_TAG": self.run,
            "STOKER_REMOTE": self.remote,
            "STOKER_PRICE": amount(per_gpu),  # USD per GPU-hour, disk included (templates/run/settings)
            "STOKER_DOLLARS": dollars(limits, machine.usd_hour),
            "TRAINING_HOURS": "" if self.limits.hours is None else f"{self.limits.hours:.2f}",
            "STOKER_IDLE_MINUTES": "" if self.limits.idle_minutes is None else f"{self.limits.idle_minutes:g}",
            "PUBLIC_KEY": self.public_key,
            "STOKER_DEADLINE": deadline(now, limits, machine.usd_hour),
            "STOKER_END_INSTANCE": "1" if outlives else "",
            "STOKER_KEEP_MINUTES": KEEP_MINUTES if outlives else "",
        }
        return Container(
            name=self.run,
            image=self.image.reference,
            command=(RUN, *flags) if flags else (),
            env=placed({**self.env, **{name: value for name, value in told.items() if value}}, machine.offer.provider),
            secrets=dict(self.secrets),
            ports=self.ports,
            disk_gb=machine.disk_gb,
            mount=self.mount,
            volume=self.volume,
            cuda=self.cuda,
            login=self.image.login,
        )

    def on_top(self, limits: Limits, machine: Priced) -> Limits:
        """`limits` on a machine whose traffic costs more than was set aside."""
        more = machine.traffic_usd - self.traffic
        if limits.usd is None or more <= 0:
            return limits
        return replace(limits, usd=max(Decimal(0), limits.usd - more))


def dollars(limits: Limits, usd_hour: Decimal) -> str:
    """What the run may cost as it counts it by itself; "" without a limit, and where an hour costs nothing (one's own
    machine): the trainer refuses dollars without a price."""
    return amount(limits.usd) if limits.usd is not None and usd_hour > 0 else ""


def deadline(now: datetime | None, limits: Limits, usd_hour: Decimal) -> str:
    """Seconds since 1970 at which a machine of `usd_hour` has to be gone: its hours are over, or it has cost all the
    dollars. "" without a limit."""
    left = [] if limits.hours is None else [limits.hours]
    if limits.usd is not None and usd_hour > 0:
        left.append(float(limits.usd / usd_hour))
    return ends_at(now, min(left)) if left else ""


def ends_at(now: datetime | None, hours: float | None) -> str:
    """`hours` from `now` as seconds since 1970, "" when there is no end."""
    return "" if now is None or hours is None else str(int((now + timedelta(hours=hours)).timestamp()))


def recipe(
    profile: Profile,
    run: str,
    image: Chosen,
    needs: Needs,
    limits: Limits,
    *,
    remote: str = "",
    public_key: str = "",
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    flags: Sequence[str] = (),
    traffic: Decimal = Decimal(0),
) -> Recipe:
    """The container of a profile's run. Raises WrongInput for a remote that is no URL of a store."""
    return Recipe(
        run=run,
        image=image,
        limits=limits,
        remote=checked_remote(remote),
        public_key=public_key,
        env=dict(env or {}),
        secrets=dict(secrets or {}),
        ports=tuple(profile.ports) or ("22/tcp",),
        mount=profile.volume or "/workspace",
        cuda=needs.cuda,
        flags=tuple(flags),
        volume=needs.volume.id if needs.volume is not None else "",
        traffic=traffic,
    )


def amount(value: Decimal) -> str:
    """Dollars as the run script reads them: digits and a point, at most 12 characters, never less than they are."""
    return f"{value.quantize(Decimal('0.0001'), ROUND_CEILING):f}"


def checked_remote(url: str) -> str:
    """A store's URL without a login in it. Raises WrongInput."""
    if not url:
        return ""
    scheme, found, rest = url.partition("://")
    if not found or scheme not in SCHEMES or not rest:
        raise WrongInput(f"--remote {url.partition('?')[0][:80]} is no store", "hf://, gs://, s3://, ssh:// or file://")
    if ":" in rest.partition("/")[0].rpartition("@")[0]:
        raise WrongInput("--remote holds a password", "leave it out; keys come from the environment")
    if any(letter in url for letter in '"\\\n\r ') or not url.isprintable():
        raise WrongInput("--remote holds a space, a quote, a backslash or a line break", "give a plain URL")
    return url


def refuse_own_disk(remote: str, rented: Sequence[str], mount: str, volume: Volume | None) -> None:
    """Raises WrongInput for a file:// remote that would be the rented machine's own disk, and end with it. rented:
    the providers whose machines are elsewhere; a path on the volume that is mounted there outlives them."""
    if not remote.startswith("file://") or not rented:
        return
    path = PurePosixPath(normpath(remote.removeprefix("file://")))
    if volume is not None and path.is_relative_to(mount) and path != PurePosixPath(mount):
        return
    where = f"; or a folder of the volume: file://{mount}/kept" if volume is not None else ""
    raise WrongInput(
        f"--remote {remote[:120]} is the disk of the machine at {' or '.join(rented)}, and is lost with it",
        f"a store elsewhere: hf://USER/NAME/RUN, s3://, ssh://{where}",
    )


def public_key(environ: Mapping[str, str], home: Path) -> str:
    """The user's public SSH keys: PUBLIC_KEY, else the first of ~/.ssh; "" without one. Raises WrongInput for another
    thing than a public key: a private one must not leave this machine."""
    if text := environ.get("PUBLIC_KEY", "").strip():
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not all(KEY.fullmatch(line) for line in lines):
            raise WrongInput("PUBLIC_KEY is no public SSH key", "set it to the line in ~/.ssh/id_ed25519.pub")
        return "\n".join(lines)
    for name in PUBLIC:
        try:
            line = (home / ".ssh" / name).read_text("utf-8").strip()
        except (OSError, ValueError):
            continue
        if KEY.fullmatch(line):
            return " ".join(line.split()[:2])  # the comment names a person and a machine
    return ""


def stored(container: Container) -> dict[str, Any]:
    """A container as the ledger keeps it: secrets by name alone, no login."""
    return {
        "name": container.name,
        "image": container.image,
        "command": list(container.command),
        "env": dict(container.env),
        "secrets": sorted(container.secrets),
        "ports": list(container.ports),
        "disk_gb": container.disk_gb,
        "mount": container.mount,
        "volume": container.volume,
        "cuda": container.cuda,
        "private": container.login is not None,
    }


def restored(kept: Mapping[str, Any], secrets: Mapping[str, str]) -> Container:
    """The container that `stored` kept, with the secrets of now. Raises WrongInput for one that is not set any more."""
    missing = [name for name in kept.get("secrets", ()) if name not in secrets]
    if missing:
        raise WrongInput(f"the run needs {', '.join(missing)}", f"export {missing[0]}=...")
    plain = Container(name=str(kept["name"]), image=str(kept["image"]))
    return replace(
        plain,
        command=tuple(kept["command"]),
        env=dict(kept["env"]),
        secrets={name: secrets[name] for name in kept["secrets"]},
        ports=tuple(kept["ports"]),
        disk_gb=int(kept["disk_gb"]),
        mount=str(kept["mount"]),
        volume=str(kept.get("volume") or ""),
        cuda=str(kept["cuda"]),
    )
