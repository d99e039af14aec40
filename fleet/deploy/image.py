"""Which image is deployed: by digest, from a registry that the rented machine can reach, with the login it needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fleet.providers.values import Login
from profiles.errors import StokerError, WrongInput

if TYPE_CHECKING:
    from images.oci.manifest import Manifest
    from images.oci.reference import Reference
    from images.registry.repository import Repository
    from images.workbench import Workbench

PLATFORM = "linux/amd64"  # of all machines that the three providers rent
UNPACKED = 2.1  # bytes on the disk of one that is pulled: the planner's own ratio (finish/habits.py: 21 GB of 10)


@dataclass(frozen=True, slots=True)
class Chosen:
    """reference: HOST/NAME@sha256:...; tag: for people; profile: its label; size: bytes that are pulled; login: None
    for a public image; here: the registry is this machine's own, which no rented machine reaches."""

    reference: str
    tag: str
    profile: str
    size: int
    login: Login | None = field(default=None, repr=False)
    here: bool = False

    @property
    def unpacked(self) -> float:
        """Bytes on the machine's disk."""
        return UNPACKED * self.size


def newest(bench: Workbench, profile: str = "") -> dict[str, Any]:
    """The row of the image built last (of `profile`). Raises WrongInput when there is none."""
    from images.checks.listing import rows

    built = [row for row in rows(bench.store) if row["plan"].get("platform", PLATFORM) == PLATFORM]
    mine = [row for row in built if not profile or row["plan"]["profile"] == profile]
    if mine:
        return max(mine, key=lambda row: str(row["built"]))
    step = f"./inv build --profile {profile or 'NAME'} --push --registry HOST/NAME"
    if not profile:  # also said by `offers`, which weighs a profile without an image of it
        raise WrongInput("no image has been built here, and no profile is named", f"--profile NAME, or {step}")
    raise WrongInput(f"no image of profile {profile} has been built here", f"{step}, or name one that is: --image REF")


def choose(bench: Workbench, profile: str = "", named: str = "") -> Chosen:
    """The image to deploy. named: a reference in a registry; else the newest built of `profile`.

    Raises WrongInput: none built, not pushed, private without a login that a provider can use; OutsideFailed and its
    registry errors when the registry does not answer.
    """
    from images.oci.reference import parse

    if named:
        reference = parse(named)
        return of_reference(bench, reference, missing_step="check the name, or ./inv push it first")
    row = newest(bench, profile)
    home = registry_of(bench, row)
    step = f"./inv push --profile {row['plan']['profile']} --registry {home}"
    found = of_reference(bench, parse(f"{home}:{row['tag']}"), missing_step=step)
    digest = found.reference.partition("@")[2]
    if digest != row["digest"]:
        raise WrongInput(
            f"{home}:{row['tag']} is {digest[:19]}..., another image than the one built here: {row['digest'][:19]}...",
            f"{step} --force, or name the one you mean: --image REF@sha256:...",
        )
    return found


def registry_of(bench: Workbench, row: dict[str, Any]) -> str:
    """HOST/NAME that the image is looked for in: the setting, else where it was pushed to. Raises WrongInput."""
    if named := bench.settings.get("registry"):
        return named
    from images.checks.listing import known_holders, subject_of

    subject = subject_of(bench.store, row)
    held = known_holders(bench.store).get(subject.manifest.config.digest, []) if subject is not None else []
    if held:
        return held[0]
    raise WrongInput(
        f"{row['tag']} has not been pushed: a rented machine could not pull it",
        f"./inv push --profile {row['plan']['profile']} --registry HOST/NAME",
    )


def of_reference(bench: Workbench, reference: Reference, missing_step: str) -> Chosen:
    """An image of a registry, read with our login, and asked for without one."""
    import json

    from images.checks.find import chosen as child
    from images.registry.address import is_loopback
    from images.registry.errors import LoginNeeded, Missing

    repository = bench.registries.repository(reference)
    try:
        manifest = repository.manifest()
        if manifest.is_index:
            manifest = repository.manifest(child(manifest, PLATFORM))
        config = json.loads(repository.blob(manifest.config))
    except Missing:
        raise WrongInput(f"{reference} is not there: it has not been pushed", missing_step) from None
    except LoginNeeded as refused:
        raise WrongInput(f"{reference} is private, and there is no login for it here", refused.next_step) from None
    labels = ((config.get("config") or {}).get("Labels") or {}) if isinstance(config, dict) else {}
    return Chosen(
        reference=f"{reference.name}@{manifest.digest}",
        tag=reference.tag or manifest.digest[7:19],
        profile=str(labels.get("stoker.profile") or ""),
        size=sum(layer.size for layer in manifest.layers),
        login=login_for(bench, repository, manifest),
        here=is_loopback(reference.registry),
    )


def login_for(bench: Workbench, repository: Repository, manifest: Manifest) -> Login | None:
    """None when anybody may pull it; else the user's own login. Raises WrongInput when that is none for a provider."""
    if public(bench, repository, manifest.digest):
        return None
    from images.registry.errors import login_command

    host = repository.reference.registry
    found = bench.registries.credentials.lookup(repository.transport.host, repository.name)
    if not found.username or not found.password:
        kind = "only a token of its own kind" if not found.anonymous else "no login"
        raise WrongInput(
            f"{repository} is private, and there is {kind} for {host} here that a provider could use",
            f"{login_command(host)} with a user name and an access token that may only read",
        )
    return Login(host, found.username, found.password)


def public(bench: Workbench, repository: Repository, digest: str) -> bool:
    """Whether the manifest is given out without a login: an anonymous request for it."""
    from images.registry.credentials import Credentials
    from images.registry.registries import Registries

    nobody = Credentials({"HOME": "/nonexistent"})
    with Registries(bench.registries.settings, credentials=nobody, policy=bench.registries.policy) as strangers:
        try:
            return strangers.repository(repository.reference).head(digest) is not None
        except StokerError:  # 401, 403, and 404 where a registry hides what is private
            return False


def refuse_unreachable(chosen: Chosen, rented: list[str]) -> None:
    """Raises WrongInput for a registry on this machine, when a machine elsewhere is to pull from it."""
    if chosen.here and rented:
        host = chosen.reference.partition("/")[0]
        raise WrongInput(
            f"{host} is a registry on this machine: a machine at {rented[0]} cannot pull from it",
            "push to one it can reach: --registry HOST/NAME; or --provider local",
        )
