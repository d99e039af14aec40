"""The base an image is appended to: its manifest and config, never its layers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from images.oci import media
from images.oci.manifest import Manifest
from images.plan import Base
from images.store import Store
from profiles.errors import OutsideFailed

if TYPE_CHECKING:
    from images.registry.repository import Repository


@dataclass(frozen=True)
class BaseImage:
    """manifest and config as the registry or the bootstrap gave them, byte for byte.

    repository: where its layers can be mounted or streamed from; None when the store holds them.
    """

    manifest: Manifest
    config: bytes
    repository: Repository | None = None

    @cached_property
    def config_json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.config)
        return value

    @property
    def diff_ids(self) -> list[str]:
        return list(self.config_json.get("rootfs", {}).get("diff_ids", []))

    @property
    def size(self) -> int:
        """Bytes of all layers, compressed."""
        return sum(layer.size for layer in self.manifest.layers)


def load(base: Base, store: Store, repository: Repository | None) -> BaseImage:
    """The base of a plan: from the store when it was read before, else two small requests.

    Raises OutsideFailed; for a base that the registry does not have, with what to check.
    """
    if store.layout.has(base.digest):
        manifest = store.layout.manifest(base.digest)
    elif repository is None:
        raise OutsideFailed(f"the base {base.name} is not in the store", "./inv build makes it")
    else:
        manifest = repository.manifest(base.digest)
    if manifest.media_type not in media.MANIFESTS:
        raise OutsideFailed(f"{base.name}@{base.digest} is not an image manifest", "lock the profile again")
    if not store.layout.has(manifest.config.digest):
        if repository is None:
            raise OutsideFailed(f"the config of {base.name} is not in the store", "./inv prune, then build again")
        store.layout.put_blob(repository.blob(manifest.config))
        store.layout.put_manifest(manifest, f"base-{base.digest.removeprefix('sha256:')[:12]}")
    config = store.layout.read_blob(manifest.config.digest)
    return BaseImage(manifest, config, repository if base.kind == "registry" else None)
