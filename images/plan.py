"""The image plan: one resolved, printable, hashable value that says everything an image will be.

Both builders, push, diff, the SBOM and the tests read the plan; nothing else decides what goes into an image.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from images.oci.manifest import canonical

SCHEMA = 1
HOME = "opt/stoker"  # all we bake lies here: no provider mounts a volume over it (RunPod mounts /workspace)
SITE = f"{HOME}/site"  # Python packages we add
APP = f"{HOME}/app"  # our own packages: trainer
BIN = f"{HOME}/bin"  # run scripts


@dataclass(frozen=True, slots=True)
class Input:
    """One file of a layer.

    source: path relative to the checkout, or `rendered:<template>`; target: path inside the image, relative, no
    leading slash; mode: 0o644 or 0o755; link: text of a symbolic link (then size is 0 and sha256 is of the text).
    """

    source: str
    target: str
    sha256: str  # 64 hex digits
    size: int  # bytes
    mode: int = 0o644
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Wheel:
    """One wheel of a layer, pinned by the lock; its files land under SITE."""

    name: str  # normalised distribution name
    version: str
    filename: str
    sha256: str  # 64 hex digits, of the wheel file
    size: int = 0  # bytes of the wheel file, 0 when not known


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: files or wheels. Layers are ordered by how rarely they change, rarest first."""

    name: str  # 'wheels-torch', 'wheels', 'scripts', 'trainer'
    files: tuple[Input, ...] = ()
    wheels: tuple[Wheel, ...] = ()

    @property
    def key(self) -> str:
        """Hash of everything that decides the layer's bytes before compression: the build cache's key."""
        return hashlib.sha256(canonical({"schema": SCHEMA, **asdict(self)})).hexdigest()


@dataclass(frozen=True, slots=True)
class Base:
    """The image that is appended to.

    name: `nvcr.io/nvidia/pytorch:25.06-py3` or `debian:bookworm` for a bootstrapped one; digest: of the platform's
    own manifest, never of the index; kind: where its bytes come from.
    """

    name: str
    digest: str
    kind: Literal["registry", "debian"]
    index_digest: str | None = None
    python: str = "3.12"  # minor version of the interpreter that runs the trainer
    site_packages: str = "usr/local/lib/python3.12/dist-packages"  # where the .pth file that finds SITE goes


@dataclass(frozen=True, slots=True)
class Foundation:
    """System packages that need RUN: built once by BuildKit on the base, then appended to."""

    packages: tuple[str, ...]

    def key(self, base: Base) -> str:
        """64 hex digits: same base and packages, same foundation."""
        return hashlib.sha256(canonical({"base": base.digest, "packages": list(self.packages)})).hexdigest()


@dataclass(frozen=True, slots=True)
class Config:
    """What the image's config says beyond the base's. Env: ordered pairs that replace the base's in place."""

    env: tuple[tuple[str, str], ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    workdir: str = f"/{HOME}"
    user: str = ""
    ports: tuple[str, ...] = ()  # '8888/tcp'
    labels: tuple[tuple[str, str], ...] = ()
    healthcheck: tuple[str, ...] = ()  # command after CMD; empty: none
    stop_signal: str = "SIGTERM"


@dataclass(frozen=True)  # no slots: `hash` is asked for often and kept
class ImagePlan:
    """Everything an image will be. Equal plans give equal digests on every machine."""

    profile: str
    version: str
    commit: str  # 40 hex digits; 40 zeros outside a checkout
    dirty: bool
    created: str  # RFC 3339, the commit's time, never the clock
    platform: str  # 'linux/amd64'
    base: Base
    layers: tuple[Layer, ...]
    config: Config
    compression: Literal["gzip", "zstd"] = "gzip"
    foundation: Foundation | None = None
    annotations: tuple[tuple[str, str], ...] = field(default_factory=tuple)

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON, its own hash and tag included."""
        return {"schema": SCHEMA, "hash": self.hash, "tag": self.tag, **asdict(self)}

    @cached_property
    def hash(self) -> str:
        """sha256 over the canonical JSON, 64 hex digits."""
        return hashlib.sha256(canonical({"schema": SCHEMA, **asdict(self)})).hexdigest()

    @property
    def tag(self) -> str:
        """`<profile>-<version>-g<commit12>[-dirty]-<plan12>`: content-derived, so it never needs to move."""
        dirty = "-dirty" if self.dirty else ""
        return f"{self.profile}-{self.version}-g{self.commit[:12]}{dirty}-{self.hash[:12]}"

    @property
    def epoch(self) -> int:
        """Seconds since 1970 of `created`."""
        from datetime import datetime

        return int(datetime.fromisoformat(self.created.replace("Z", "+00:00")).timestamp())
