"""The lock of a profile: what was pinned, when, and the base's facts as the registry told them.

One JSON file per profile, `profiles/locks/<profile>.json`, or in the folder named by STOKER_LOCKS.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from profiles.document import shorten
from profiles.errors import OutsideFailed, WrongInput
from profiles.locations import lock_file

if TYPE_CHECKING:
    from profiles.schema import Profile

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Part(BaseModel):
    """Base of all parts: unknown keys are errors, values do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RegistryBase(Part):
    """A base in a registry, one platform of it. digest: of the platform's own manifest; size: of all its layers."""

    kind: Literal["registry"] = "registry"
    name: str
    index_digest: Digest | None = None
    digest: Digest
    media_type: str
    size: int = Field(ge=0, description="bytes, compressed")
    facts: dict[str, str | None] = Field(default_factory=dict)


class DebianBase(Part):
    """A bootstrapped Debian. digest: of its compressed layer; diff_id: of that layer's tar; packages: versions."""

    kind: Literal["debian"] = "debian"
    name: str
    suite: str
    digest: Digest
    diff_id: Digest
    packages: dict[str, str] = Field(default_factory=dict)


class Sdist(Part):
    """The source distribution a wheel was built from."""

    filename: str
    sha256: Sha256


class LockedWheel(Part):
    """A wheel. size: bytes of the file; licence: CycloneDX' choice as its METADATA states it, null: not read."""

    name: str
    version: str
    filename: Annotated[str, Field(pattern=r"^[^/\\]+\.whl$")]
    sha256: Sha256
    size: int = Field(default=0, ge=0)
    built_from_sdist: Sdist | None = None
    licence: dict[str, JsonValue] | None = None


class LockedLayer(Part):
    """What a layer of wheels came out as, in gzip. key: of the plan's layer; size: bytes; files: entries."""

    key: Sha256
    compressor: str
    digest: Digest
    size: int = Field(ge=0)
    diff_id: Digest
    files: int = Field(ge=0)


class Lock(Part):
    """Everything that is pinned for a profile; bases, wheels and their layers by platform ('linux/amd64')."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    profile: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    locked_at: str = Field(description="RFC 3339, UTC")
    bases: dict[str, Annotated[RegistryBase | DebianBase, Field(discriminator="kind")]]
    wheels: dict[str, tuple[LockedWheel, ...]] = Field(default_factory=dict)
    layers: dict[str, tuple[LockedLayer, ...]] = Field(default_factory=dict)
    requirements_hash: Sha256

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


def read(profile: str, folder: Path | None = None) -> Lock | None:
    """The lock of a profile, by name; None without one. Raises WrongInput when the file is damaged."""
    path = lock_file(profile, folder)
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise WrongInput(f"{shorten(path)} cannot be read: {error}", "check the file, or lock again") from None
    try:
        lock = Lock.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WrongInput(
            f"{shorten(path)} is no lock of this version: {where or 'file'}: {first['msg']}",
            f"lock again: ./inv lock --profile {profile}",
        ) from None
    if lock.profile != profile:
        raise WrongInput(
            f"{shorten(path)} is the lock of `{lock.profile}`", f"lock again: ./inv lock --profile {profile}"
        )
    return lock


def read_good(profile: str, folder: Path | None = None) -> Lock | None:
    """The lock of a profile; None without one, and for a damaged one: for whoever is about to write it anew."""
    try:
        return read(profile, folder)
    except WrongInput:
        return None


def text(lock: Lock) -> str:
    """The file's content: sorted keys, so that a change shows as a small diff."""
    return json.dumps(lock.model_dump(mode="json", by_alias=True), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write(lock: Lock, folder: Path | None = None) -> Path:
    """Writes the lock so that a reader sees the old file or the new one, never a part. Raises OutsideFailed."""
    path = lock_file(lock.profile, folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OutsideFailed(
            f"cannot write {shorten(path)}: {error.strerror}", "check the folder and the disk"
        ) from None
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as out:
            out.write(text(lock))
            out.flush()
            os.fsync(out.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise OutsideFailed(
            f"cannot write {shorten(path)}: {error.strerror}", "check the folder and the disk"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return path


def requirements_hash(profile: Profile) -> str:
    """64 hex digits over what decides the wheels: requirements and indexes, in any order."""
    wanted = {"requirements": sorted(profile.python.requirements), "indexes": sorted(profile.python.indexes)}
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()


def stale(profile: Profile, lock: Lock) -> list[str]:
    """Why the lock does not fit the profile as it is now, empty when it does."""
    reasons: list[str] = []
    if lock.requirements_hash != requirements_hash(profile):
        reasons.append("the Python requirements or indexes have changed")
    for platform in profile.platforms:
        base = lock.bases.get(platform)
        if base is None:
            reasons.append(f"{platform} is not locked")
            continue
        if base.name != profile.base.name:
            reasons.append(f"the base was {base.name}, and is {profile.base.name} now")
        elif isinstance(base, DebianBase):
            missing = sorted(set(profile.base.packages) - set(base.packages))
            if missing:
                reasons.append(f"the base's packages have changed: {', '.join(missing)} not locked")
        if platform not in lock.wheels and profile.python.requirements:
            reasons.append(f"the wheels for {platform} are not locked")
    return reasons
