"""Bring an image or a base from the store into the local Docker engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from images.builders import archive
from images.builders.engine import BASE, Engine, connect_or_install
from images.builders.image import Image
from images.oci.manifest import Manifest
from images.progress import Progress, size
from images.registry.source import RemoteBlob
from images.store import Store

if TYPE_CHECKING:
    from images.registry.repository import Repository
    from images.workbench import Workbench


def load_into_engine(image: Image, bench: Workbench, engine: Engine | None = None) -> str:
    """Load a built image; returns its name in the engine. Layers of a remote base are fetched first.

    Raises OutsideFailed: no engine, no space, the base's registry does not answer.
    """
    engine = engine or connect_or_install(bench.progress)
    name = archive.engine_name(image.plan.tag, bench.settings.get("registry"))
    if engine.has(name) and engine.inspect(name)["Id"] == image.manifest.config.digest:
        return name
    fetch_missing(image.manifest, image.base, image.store, bench.progress)
    load(engine, image.manifest, image.store, name, bench.progress)
    return name


def load_base(manifest: Manifest, store: Store, engine: Engine, progress: Progress) -> str:
    """Load a bootstrapped base for `FROM`; returns its name in the engine."""
    name = f"{BASE}:{manifest.digest.removeprefix('sha256:')[:12]}"
    if not engine.has(name):
        load(engine, manifest, store, name, progress)
    return name


def load(engine: Engine, manifest: Manifest, store: Store, name: str, progress: Progress) -> None:
    engine.load(archive.archive(manifest, store.layout, [name]), total=archive.length(manifest), progress=progress)


def fetch_missing(manifest: Manifest, base: Repository | None, store: Store, progress: Progress) -> None:
    """Download the layers the store lacks, each checked against its digest and resumed when the line is cut."""
    missing = store.layout.missing(manifest)
    if not missing or base is None:
        return
    progress.say(f"fetching {len(missing)} layers of the base, {size(sum(one.size for one in missing))}")
    for layer in missing:
        with progress.meter(f"layer {layer.digest[7:19]}", layer.size) as meter:
            store.layout.put_stream(RemoteBlob(base, layer), layer, meter)
