"""The image on this machine: what the engine has, what our own store has, else the registry's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet.providers.outcomes import Because, NotCreated
from profiles.errors import OutsideFailed, StokerError

if TYPE_CHECKING:
    from fleet.providers.values import Container
    from images.builders.engine import Engine
    from images.oci.manifest import Manifest

REPOSITORY = "stoker-local"  # names images in the engine that came from the store by digest alone


def digest_of(reference: str) -> str:
    """'sha256:...' of HOST/NAME@sha256:..., "" without one."""
    return reference.partition("@")[2]


def built(reference: str, state: Path) -> Manifest | None:
    """The manifest of an image that our own store holds, all its layers included."""
    from images.store import Store

    layout, digest = Store(state).layout, digest_of(reference)
    if not digest or not (state / "layout" / "index.json").is_file():
        return None
    try:
        manifest = layout.manifest(digest)
        return None if manifest.is_index or layout.missing(manifest) else manifest
    except StokerError:  # not there, damaged: then the registry's
        return None


def ensure(engine: Engine, container: Container, state: Path) -> str:
    """What the engine calls the image, once it has it. Raises NotCreated: nothing was begun."""
    try:
        return found(engine, container.image, state) or pulled(engine, container)
    except OutsideFailed as error:
        raise NotCreated(Because.INVALID, f"local: {error.what}", error.next_step) from None


def found(engine: Engine, reference: str, state: Path) -> str:
    """Of what is on this machine already; "" when it has to be fetched."""
    if engine.has(reference):
        return reference
    manifest = built(reference, state)
    if manifest is None:
        return ""
    name = f"{REPOSITORY}:{manifest.digest.removeprefix('sha256:')[:12]}"
    if not engine.has(name) or engine.inspect(name)["Id"] not in (manifest.config.digest, manifest.digest):
        from images.builders.load import load
        from images.progress import Silent
        from images.store import Store

        load(engine, manifest, Store(state), name, Silent())
    return name


def pulled(engine: Engine, container: Container) -> str:
    """Out of its registry, with the run's own login, else that of the Docker config. Raises OutsideFailed."""
    from images.builders.engine import login, translated

    given = container.login
    auth = {"username": given.user, "password": given.password} if given else None
    repository, _, digest = container.image.partition("@")
    failure = ""
    with translated(f"pulling {container.image}"):
        events: Any = engine.api.pull(repository, tag=digest or None, stream=True, decode=True, auth_config=auth)
        for event in events:
            failure = failure or str(event.get("error", ""))
    if failure or not engine.has(container.image):
        raise OutsideFailed(
            f"pulling {container.image} failed: {failure or 'the engine does not have it'}",
            login(failure, container.image),
        )
    return container.image
