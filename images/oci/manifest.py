"""Descriptors and manifests as they travel: raw bytes are kept, because re-serialising changes the digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from images.oci import digest as digests
from images.oci import media
from profiles.errors import OutsideFailed


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of a blob or of another manifest (image-spec descriptor.md)."""

    media_type: str
    digest: str
    size: int
    extra: Mapping[str, Any] = field(default_factory=dict)  # platform, annotations, urls, artifactType: kept as read

    def to_json(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **self.extra}

    @classmethod
    def from_json(cls, value: Any) -> Descriptor:
        """Raises OutsideFailed when the value is not a descriptor with a sha256 digest."""
        try:
            extra = {k: v for k, v in value.items() if k not in ("mediaType", "digest", "size")}
            size = value["size"]
            if not isinstance(size, int) or size < 0 or not digests.DIGEST.fullmatch(value["digest"]):
                raise ValueError
            return cls(value["mediaType"], value["digest"], size, extra)
        except (KeyError, TypeError, AttributeError, ValueError):
            raise OutsideFailed(f"not a usable descriptor: {json.dumps(value)[:200]}") from None

    @property
    def annotations(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.extra.get("annotations") or {}
        return found


@dataclass(frozen=True)
class Manifest:
    """An image manifest or an index, byte for byte."""

    raw: bytes
    media_type: str

    @cached_property
    def digest(self) -> str:
        return digests.of_bytes(self.raw)

    @cached_property
    def json(self) -> dict[str, Any]:
        try:
            value = json.loads(self.raw)
        except ValueError:
            raise OutsideFailed("the manifest is not JSON") from None
        if not isinstance(value, dict):
            raise OutsideFailed("the manifest is not a JSON object")
        return value

    @property
    def descriptor(self) -> Descriptor:
        extra = {}
        if artifact := self.json.get("artifactType"):
            extra["artifactType"] = artifact
        return Descriptor(self.media_type, self.digest, len(self.raw), extra)

    @property
    def is_index(self) -> bool:
        return self.media_type in media.INDEXES

    @property
    def family(self) -> media.Family:
        return media.family_of(self.media_type)

    @property
    def config(self) -> Descriptor:
        return Descriptor.from_json(self.json.get("config"))

    @property
    def layers(self) -> list[Descriptor]:
        return [Descriptor.from_json(layer) for layer in self.json.get("layers", [])]

    @property
    def children(self) -> list[Descriptor]:
        """The manifests of an index."""
        return [Descriptor.from_json(child) for child in self.json.get("manifests", [])]


def canonical(value: Any) -> bytes:
    """JSON as we write and hash it: sorted keys, no spaces, UTF-8; serialised once, those bytes are sent."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def build(value: Mapping[str, Any]) -> Manifest:
    """A manifest or index of ours from its JSON value, which must name its own mediaType."""
    return Manifest(canonical(value), value["mediaType"])


def child_for(index: Manifest, os_arch: str) -> Descriptor:
    """The child of `index` for a platform such as 'linux/amd64'.

    Attestations (unknown/unknown) and artifacts are passed over. Raises OutsideFailed naming what exists.
    """
    os_name, _, architecture = os_arch.partition("/")
    seen = []
    for child in index.children:
        platform = child.extra.get("platform") or {}
        if child.extra.get("artifactType") or platform.get("os") == "unknown":
            continue
        seen.append(f"{platform.get('os')}/{platform.get('architecture')}")
        if platform.get("os") == os_name and platform.get("architecture") == architecture:
            return child
    raise OutsideFailed(f"the image has no {os_arch}; it has {', '.join(seen) or 'nothing that runs'}")
