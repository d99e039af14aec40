"""An image as it can be read back: manifest, config, and which of its layers are ours. Local or in a registry."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from images.checks.unpacked import Unpacked, from_store
from images.oci.manifest import Descriptor, Manifest
from images.plan import SITE
from images.progress import Meter, Silent
from profiles.errors import OutsideFailed, StokerError

if TYPE_CHECKING:
    from images.registry.repository import Repository
    from images.store import Store

OURS = "stoker"  # the comment of our entries in the config's history
COPY = re.compile(r"COPY (?:--\S+ )*layers/([\w.-]+)/")  # how they begin when BuildKit made them
PREFIX = "org.opencontainers.image."


@dataclass(frozen=True)
class Own:
    """A layer of ours. index: its place among all layers; name: as in the plan, or `foundation`; diff_id: as the
    config states it, empty when it states too few; appended: by our own builder, not by BuildKit."""

    index: int
    name: str
    descriptor: Descriptor
    diff_id: str
    appended: bool

    @property
    def written(self) -> bool:
        """Whether our own tar writer made it, and not apt in a foundation or another builder."""
        return self.appended and self.name != "foundation"

    @property
    def pinned(self) -> bool:
        """Wheels: their content is pinned by the lock, and checked against it when the layer is made."""
        return self.name == "wheels" or self.name.startswith("wheels-")


@dataclass(frozen=True)
class Subject:
    """name: as the user wrote it; repository: where to read what the store lacks."""

    name: str
    manifest: Manifest
    raw_config: bytes
    store: Store
    repository: Repository | None = None

    @cached_property
    def config(self) -> dict[str, Any]:
        """Raises OutsideFailed when the config is not a JSON object."""
        try:
            value = json.loads(self.raw_config)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise OutsideFailed(f"the config of {self.name} is not a JSON object", "build and push the image again")
        return value

    @property
    def settings(self) -> dict[str, Any]:
        """What a container starts with: Env, Entrypoint, Labels..."""
        found: dict[str, Any] = self.config.get("config") or {}
        return found

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.settings.get("Labels") or {})

    @property
    def env(self) -> dict[str, str]:
        return dict(item.partition("=")[::2] for item in self.settings.get("Env") or [])

    @property
    def diff_ids(self) -> list[str]:
        return list((self.config.get("rootfs") or {}).get("diff_ids") or [])

    @property
    def history(self) -> list[dict[str, Any]]:
        """One entry per layer; those without a layer are left out."""
        return [item for item in self.config.get("history") or [] if not item.get("empty_layer")]

    @property
    def platform(self) -> str:
        return f"{self.config.get('os')}/{self.config.get('architecture')}"

    @property
    def size(self) -> int:
        """Bytes of all layers, compressed."""
        return sum(layer.size for layer in self.manifest.layers)

    @cached_property
    def own(self) -> list[Own] | None:
        """Our layers, told by the config's history or by what the base lacks. None when neither says it."""
        layers, history, diff_ids = self.manifest.layers, self.history, self.diff_ids
        diff_ids += [""] * (len(layers) - len(diff_ids))
        words = [str(item.get("created_by", "")) for item in history] if len(history) == len(layers) else []
        copies = [COPY.match(by) for by in words]
        if words and any(item.get("comment") == OURS for item in history):
            mine = [index for index, item in enumerate(history) if item.get("comment") == OURS]
            return [
                Own(index, words[index].removeprefix("stoker: "), layers[index], diff_ids[index], True)
                for index in mine
            ]
        if (inherited := base_config(self)) is not None:
            known = set((inherited.get("rootfs") or {}).get("diff_ids") or [])
            mine = [index for index in range(len(layers)) if diff_ids[index] not in known]
        elif any(copies):
            first = next(index for index, match in enumerate(copies) if match)
            mine = list(range(first, len(layers)))
        else:
            return None
        names = {index: match[1] for index, match in enumerate(copies) if match}
        return [Own(index, names.get(index, f"layer-{index}"), layers[index], diff_ids[index], False) for index in mine]

    def read(self, layer: Descriptor, meter: Meter | None = None) -> Unpacked:
        """The layer's tar. Raises, while it is read, OutsideFailed or CheckFailed."""
        return Unpacked(metered(self.pieces(layer), meter or Silent()))

    def pieces(self, layer: Descriptor) -> Iterable[bytes | memoryview]:
        """From the registry where there is one: what is asked is what lies there."""
        if self.repository is not None:
            return self.repository.stream(layer)
        return from_store(self.store, layer.digest)


def metered(pieces: Iterable[bytes | memoryview], meter: Meter) -> Iterator[bytes | memoryview]:
    for piece in pieces:
        yield piece
        meter.advance(len(piece))


def base_config(subject: Subject) -> dict[str, Any] | None:
    """The base's config, when this machine has it; the label base.digest says which base."""
    store = subject.store
    base = local_manifest(store, subject.labels.get(PREFIX + "base.digest", ""))
    if base is None or base.is_index or not store.layout.has(base.config.digest):
        return None
    value: dict[str, Any] = json.loads(store.layout.read_blob(base.config.digest))
    return value


def local_manifest(store: Store, digest: str) -> Manifest | None:
    """A manifest of the store by digest, None without it."""
    try:
        return store.layout.manifest(digest)
    except StokerError:
        return None


def local(store: Store, name: str, manifest: Manifest) -> Subject:
    """An image of the store."""
    return Subject(name, manifest, store.layout.read_blob(manifest.config.digest), store)


def remote(repository: Repository, name: str, manifest: Manifest, store: Store) -> Subject:
    """An image of a registry; its config is read and checked now."""
    return Subject(name, manifest, repository.blob(manifest.config), store, repository)


def in_site(path: str) -> str | None:
    """The package folder a file belongs to: 'torch' of `opt/stoker/site/torch/x.py`; None elsewhere."""
    if not path.startswith(SITE + "/"):
        return None
    return path[len(SITE) + 1 :].partition("/")[0]
