"""The wheel layers as a lock pins them: a machine that finds one in the target's registry need not make it.

Without this a clean runner would download and pack all wheels only to learn that the registry has their layer. The
digest comes from the committed lock, never from the registry, so nobody who can push there can change the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from images.layers import compress
from images.layers.blob import LayerBlob, blob_path
from images.layers.cache import LayerCache
from images.oci import media
from images.oci.manifest import Descriptor
from images.plan import Layer

if TYPE_CHECKING:
    from images.build import Resolved
    from images.locks.wheels import Pin
    from images.progress import Progress
    from images.registry.repository import Repository
    from images.store import Store
    from profiles.lock import LockedLayer

COMPRESSION: Literal["gzip"] = "gzip"  # what builds use unless told otherwise


def pack(pins: Sequence[Pin], paths: Mapping[str, Path], store: Store, progress: Progress) -> tuple[LockedLayer, ...]:
    """What the wheel layers come out as; they stay in the store, so the next build finds them made.

    Raises CheckFailed for a wheel that breaks its own RECORD, OutsideFailed on a full disk.
    """
    from images.layers.blob import write_layer
    from images.layers.wheels import merge_wheels, wheel_entries
    from images.resolve import wheel_layers
    from profiles.lock import LockedLayer

    cache, found = LayerCache(store.cache, store.layout.folder), []
    for layer in wheel_layers(pins):
        blob = cache.find(layer.key, COMPRESSION, media.OCI)
        if blob is None:
            entries = merge_wheels([wheel_entries(paths[wheel.filename], wheel) for wheel in layer.wheels])
            folder = store.layout.folder
            blob = write_layer(entries, media.OCI, COMPRESSION, folder, name=layer.name, progress=progress)
            cache.keep(layer.key, COMPRESSION, blob)
        found.append(
            LockedLayer(
                key=layer.key,
                compressor=blob.compressor,
                digest=blob.descriptor.digest,
                size=blob.descriptor.size,
                diff_id=blob.diff_id,
                files=blob.files,
            )
        )
    return tuple(found)


def finder(resolved: Resolved, target: Repository | None) -> Callable[[Layer], LayerBlob | None]:
    """Asks the lock and the target for a layer that this machine has not made; None: make it.

    Only what this machine's own compressor would give counts: a build must not depend on what a registry holds.
    """
    pinned = {layer.key: layer for layer in resolved.locked.layers}

    def find(layer: Layer) -> LayerBlob | None:
        locked, plan = pinned.get(layer.key), resolved.plan
        if target is None or locked is None or locked.compressor != compress.compressor(plan.compression).id:
            return None
        if not target.for_push(()).has_blob(locked.digest):
            return None
        from images.builders.append import family_of

        remember_licences(resolved, layer)
        media_type = compress.media_type(plan.compression, family_of(plan, resolved.base))
        descriptor = Descriptor(media_type, locked.digest, locked.size)
        path = blob_path(resolved.bench.store.layout.folder, locked.digest)
        return LayerBlob(descriptor, locked.diff_id, path, locked.files, locked.compressor)

    return find


def remember_licences(resolved: Resolved, layer: Layer) -> None:
    """The SBOM states each wheel's licence, and would fetch the wheel for it."""
    from images.checks import licences

    known = {pin.filename: pin.licence for pin in resolved.locked.pins}
    for wheel in layer.wheels:
        licence = known.get(wheel.filename)
        if licence is not None and licences.remembered(resolved.bench.store, wheel) is None:
            licences.remember(resolved.bench.store, wheel, licence)
