"""One name for several platforms: the index over a profile's images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from images.builders.image import Image
from images.oci.manifest import Manifest, build, canonical
from images.workbench import Workbench

if TYPE_CHECKING:
    from images.registry.repository import Repository


def index_of(images: Sequence[Image]) -> Manifest:
    """The index, in the family of its children."""
    family = images[0].manifest.family
    rows = []
    for image in images:
        system, _, architecture = image.plan.platform.partition("/")
        row = image.manifest.descriptor.to_json()
        rows.append({**row, "platform": {"os": system, "architecture": architecture}})
    value: dict[str, Any] = {"schemaVersion": 2, "mediaType": family.index, "manifests": rows}
    if family.annotations:
        value["annotations"] = dict(images[0].plan.annotations)
    return build(value)


def index_tag(images: Sequence[Image]) -> str:
    """As an image's tag, with the hash over all plans."""
    plan = images[0].plan
    together = hashlib.sha256(canonical([image.plan.hash for image in images])).hexdigest()
    return plan.tag.rsplit("-", 1)[0] + "-" + together[:12]


def publish_index(bench: Workbench, images: Sequence[Image], target: Repository | None, force: bool) -> dict[str, Any]:
    """Keep the index in the store, and push it after its children. Returns a row as `build` prints it."""
    index, tag = index_of(images), index_tag(images)
    bench.store.layout.put_manifest(index, tag)
    row: dict[str, Any] = {
        "tag": tag,
        "digest": index.digest,
        "platforms": [image.plan.platform for image in images],
    }
    if target is not None:
        from images.registry.push import push_index
        from images.registry.record import Record

        result = push_index(
            images,
            index,
            target,
            [tag],
            journal_dir=bench.store.journal,
            record=Record(bench.store.record),
            progress=bench.progress,
            force=force,
        )
        name = f"{target.reference.registry}/{target.reference.repository}"
        row.update(pushed=f"{name}:{tag}", by_digest=f"{name}@{index.digest}", bytes_sent=result.bytes_sent)
    return row
