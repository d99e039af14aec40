"""The append builder: our layers on top of a base that is never pulled. No Docker, no root, no daemon.

Only the base's manifest and config are read; the base's layers travel as descriptors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from images.bases.base import BaseImage
from images.builders.config import derive
from images.builders.image import Image
from images.layers.blob import LayerBlob, write_layer
from images.layers.cache import LayerCache
from images.layers.sources import Sources
from images.layers.tar import Entry
from images.oci import media
from images.oci.digest import of_bytes
from images.oci.manifest import Descriptor, Manifest, build
from images.plan import ImagePlan, Layer
from images.progress import Progress
from images.store import Store

FindElsewhere = Callable[[Layer], LayerBlob | None]
FetchWheels = Callable[[], Mapping[str, Path]]  # filename -> path; called only when a layer has to be made


def append(
    plan: ImagePlan,
    base: BaseImage,
    sources: Sources,
    fetch_wheels: FetchWheels,
    store: Store,
    progress: Progress,
    foundation: Sequence[LayerBlob] = (),
    elsewhere: FindElsewhere = lambda layer: None,
) -> Image:
    """Build the plan. Layers that came out before are taken from the cache, or stay where the target has them.

    elsewhere: a layer that is known and need not be here.

    Raises CheckFailed when a file changed since the plan, OutsideFailed when the disk is full.
    """
    family = family_of(plan, base)
    cache = LayerCache(store.cache, store.layout.folder)
    blobs: list[tuple[str, LayerBlob]] = [("foundation", blob) for blob in foundation]
    reused = []
    for layer in plan.layers:
        known = cache.find(layer.key, plan.compression, family) or elsewhere(layer)
        if known is None:
            entries = layer_entries(layer, sources, fetch_wheels)
            known = write_layer(
                entries, family, plan.compression, store.layout.folder, name=layer.name, progress=progress
            )
            cache.keep(layer.key, plan.compression, known)
        else:
            reused.append(layer.name)
        blobs.append((layer.name, known))
    config = derive(base.config, plan, [(blob.diff_id, f"stoker: {name}") for name, blob in blobs])
    manifest = assemble(plan, base.manifest, family, config, [blob.descriptor for _, blob in blobs])
    return Image(plan, manifest, config, store, base.repository, tuple(reused))


def family_of(plan: ImagePlan, base: BaseImage) -> media.Family:
    """The base's family, but OCI for zstd, which Docker's own does not know: converting moves no bytes."""
    return media.OCI if plan.compression == "zstd" else base.manifest.family


def layer_entries(layer: Layer, sources: Sources, fetch_wheels: FetchWheels) -> list[Entry]:
    """The files of one layer of the plan."""
    entries = sources.entries(layer.files)
    if layer.wheels:
        from images.layers.wheels import merge_wheels, wheel_entries

        paths = fetch_wheels()
        entries += merge_wheels([wheel_entries(paths[wheel.filename], wheel) for wheel in layer.wheels])
    return entries


def assemble(
    plan: ImagePlan, base: Manifest, family: media.Family, config: bytes, layers: Sequence[Descriptor]
) -> Manifest:
    """The manifest, in one family throughout: mixing Docker and OCI types is the classic bug of append tools."""
    inherited = [in_family(layer, family).to_json() for layer in base.layers]
    value = {
        "schemaVersion": 2,
        "mediaType": family.manifest,
        "config": Descriptor(family.config, of_bytes(config), len(config)).to_json(),
        "layers": inherited + [layer.to_json() for layer in layers],
    }
    if family.annotations and plan.annotations:
        value["annotations"] = dict(plan.annotations)
    return build(value)


def in_family(layer: Descriptor, family: media.Family) -> Descriptor:
    """A base layer's descriptor, its media type translated when the image is OCI and the base is Docker's."""
    if family is media.OCI and layer.media_type in media.TO_OCI:
        return Descriptor(media.TO_OCI[layer.media_type], layer.digest, layer.size, layer.extra)
    return layer
