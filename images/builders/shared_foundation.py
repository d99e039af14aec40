"""A foundation is built once by BuildKit, pushed as an image of its own, and reused by digest from then on.

So one machine with Docker is enough: every other finds the layer in the registry and appends to it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from images.bases.base import BaseImage
from images.builders import foundation
from images.layers.blob import LayerBlob
from images.layers.cache import LayerCache
from images.oci import media
from images.oci.digest import of_bytes
from images.oci.manifest import Descriptor, Manifest, build, canonical
from images.plan import ImagePlan
from images.registry.source import BlobSource, FileBlob, RemoteBlob
from images.store import Store
from images.workbench import Workbench
from profiles.errors import OutsideFailed, StokerError

if TYPE_CHECKING:
    from images.registry.repository import Repository


def layers(
    plan: ImagePlan, base: BaseImage, family: media.Family, bench: Workbench, target: Repository | None
) -> tuple[LayerBlob, ...]:
    """The foundation's layers: from this machine, else from the target's registry, else built by BuildKit.

    Raises OutsideFailed with the reason when it is nowhere and there is no way to BuildKit.
    """
    if plan.foundation is None:
        return ()
    cache = LayerCache(bench.store.cache, bench.store.layout.folder)
    made = foundation.recall(plan, cache, family)
    if made is None and target is not None:
        made = from_registry(plan, base, family, bench.store, cache, target)
    if made is None:
        made = by_engine(plan, base, family, bench, cache)
    if target is not None:
        share(plan, base, family, made.layers, bench, target)
    return made.layers


def tag_of(plan: ImagePlan, family: media.Family) -> str:
    """The foundation's tag: content-derived, as an image's is."""
    assert plan.foundation is not None
    return f"foundation-{foundation.key(plan.base, plan.foundation)[:16]}-{family.name}-{plan.compression}"


def by_engine(
    plan: ImagePlan, base: BaseImage, family: media.Family, bench: Workbench, cache: LayerCache
) -> foundation.Made:
    """Build it here."""
    from images.builders.buildkit import Options
    from images.builders.engine import connect_or_install
    from images.builders.load import load_base

    names = ", ".join(plan.foundation.packages if plan.foundation else ())
    try:
        engine = connect_or_install(bench.progress)
        engine.buildkit_route()
    except OutsideFailed as missing:
        raise OutsideFailed(
            f"system packages ({names}) need BuildKit once, for the foundation: {missing.what}", missing.next_step
        ) from None
    local = load_base(base.manifest, bench.store, engine, bench.progress) if plan.base.kind == "debian" else None
    network = bench.settings.get("build_network")
    return foundation.make(
        plan,
        engine=engine,
        base_diff_ids=base.diff_ids,
        cache=cache,
        family=family,
        base=local or mirrored(plan, bench),
        options=Options(network=network),
        progress=bench.progress,
    )


def mirrored(plan: ImagePlan, bench: Workbench) -> str | None:
    """The engine knows nothing of our mirrors: the base's name at the mirror, or None without one."""
    from images.oci.reference import parse

    reference = parse(plan.base.name)
    host, name = bench.registries.settings.resolve(reference.registry, reference.repository)
    if (host, name) == (reference.registry, reference.repository):
        return None
    return f"{host}/{name}@{plan.base.digest}"


def as_image(
    base: BaseImage, family: media.Family, blobs: tuple[LayerBlob, ...], created: str
) -> tuple[Manifest, bytes]:
    """Base and foundation as a manifest and config of their own."""
    from images.builders.append import in_family
    from images.builders.config import append_layers

    value = json.loads(base.config)
    append_layers(value, created, [(blob.diff_id, "stoker: foundation") for blob in blobs])
    config = canonical(value)
    manifest = {
        "schemaVersion": 2,
        "mediaType": family.manifest,
        "config": Descriptor(family.config, of_bytes(config), len(config)).to_json(),
        "layers": [in_family(layer, family).to_json() for layer in base.manifest.layers]
        + [blob.descriptor.to_json() for blob in blobs],
    }
    return build(manifest), config


class FoundationImage:
    """What push_image takes."""

    def __init__(self, manifest: Manifest, config: bytes, base: BaseImage, store: Store) -> None:
        self.manifest, self.config, self.store = manifest, config, store
        self.base = base.repository

    def blob(self, digest: str) -> BlobSource | None:
        for layer in self.manifest.layers:
            if layer.digest == digest and self.store.layout.has(digest):
                return FileBlob(self.store.layout.blob_path(digest), layer)
        return None


def share(
    plan: ImagePlan,
    base: BaseImage,
    family: media.Family,
    blobs: tuple[LayerBlob, ...],
    bench: Workbench,
    target: Repository,
) -> None:
    """Push the foundation under its own tag, unless it is there."""
    from images.registry.push import push_image
    from images.registry.record import Record

    tag = tag_of(plan, family)
    if target.head(tag) is not None:
        return
    # A fixed time: the same foundation pushed by two people is the same image.
    manifest, config = as_image(base, family, blobs, "1970-01-01T00:00:01Z")
    image = FoundationImage(manifest, config, base, bench.store)
    bench.progress.say(f"sharing the foundation as {target}:{tag}")
    push_image(
        image,
        target,
        [tag],
        journal_dir=bench.store.journal,
        record=Record(bench.store.record),
        progress=bench.progress,
        force=True,  # two builds of one foundation differ in apt's answers of the day; either serves
    )


def from_registry(
    plan: ImagePlan,
    base: BaseImage,
    family: media.Family,
    store: Store,
    cache: LayerCache,
    target: Repository,
) -> foundation.Made | None:
    """The foundation another machine pushed; None when there is none that continues this base."""
    assert plan.foundation is not None
    tag = tag_of(plan, family)
    found = target.head(tag)
    if found is None:
        return None
    try:
        manifest = target.manifest(found.digest)
        diff_ids = json.loads(target.blob(manifest.config))["rootfs"]["diff_ids"]
    except (StokerError, KeyError, ValueError):
        return None
    count = len(base.manifest.layers)
    inherited = [layer.digest for layer in manifest.layers[:count]]
    if inherited != [layer.digest for layer in base.manifest.layers] or len(manifest.layers) != count + 1:
        return None
    layer = manifest.layers[count]
    from images.layers import compress
    from images.progress import Silent

    store.layout.put_stream(RemoteBlob(target, layer), layer, Silent())
    path = store.layout.blob_path(layer.digest)
    blob = LayerBlob(layer, diff_ids[count], path, 0, compress.compressor(plan.compression).id)
    cache.keep(foundation.key(plan.base, plan.foundation), plan.compression, blob)
    return foundation.Made((blob,), True)
