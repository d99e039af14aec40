"""A built image: manifest and config in hand, our blobs in the store, the base's wherever they are."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from images.oci.manifest import Manifest
from images.plan import ImagePlan
from images.store import Store

if TYPE_CHECKING:
    from images.registry.repository import Repository
    from images.registry.source import BlobSource


@dataclass(frozen=True)
class Image:
    """What push, verify, diff and the engine take. `base` streams or mounts the layers the store does not hold."""

    plan: ImagePlan
    manifest: Manifest
    config: bytes
    store: Store
    base: Repository | None = None
    reused: tuple[str, ...] = ()  # names of layers that came from the cache

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def size(self) -> int:
        """Bytes of all layers, compressed."""
        return sum(layer.size for layer in self.manifest.layers)

    def blob(self, digest: str) -> BlobSource | None:
        """The local source of a blob, or None when only the base's registry has it."""
        from images.registry.source import BytesBlob, FileBlob

        if digest == self.manifest.config.digest:
            return BytesBlob(self.config, self.manifest.config)
        for layer in self.manifest.layers:
            if layer.digest == digest and self.store.layout.has(digest):
                return FileBlob(self.store.layout.blob_path(digest), layer)
        return None


def keep(image: Image) -> None:
    """Put the image into the store's layout under its tag, and remember its plan beside it."""
    layout = image.store.layout
    layout.put_blob(image.config)
    layout.put_manifest(image.manifest, image.plan.tag)
    path = image.store.images / f"{image.plan.tag}.json"
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    row: dict[str, Any] = {
        "tag": image.plan.tag,
        "digest": image.digest,
        "built": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "size": image.size,
        "plan": image.plan.to_json(),
    }
    scratch.write_text(json.dumps(row, indent=1, ensure_ascii=False), encoding="utf-8")
    scratch.replace(path)
