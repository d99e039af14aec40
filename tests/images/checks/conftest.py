"""Small real images: a Debian-like base of a few files, our layers appended, pushed to a real registry."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from images.bases.base import BaseImage
from images.build import Resolved
from images.builders.append import append
from images.builders.image import Image, keep
from images.checks import sbom
from images.layers.sources import Sources
from images.locks.lock import Locked
from images.locks.wheels import Pin
from images.oci import media
from images.oci.digest import of_bytes
from images.oci.manifest import Descriptor, Manifest, build, canonical
from images.plan import APP, BIN, HOME, Base, Config, ImagePlan, Layer, Wheel
from images.progress import Silent
from images.registry.push import push_image
from images.registry.record import Record
from images.registry.repository import Repository
from images.registry.source import BytesBlob
from images.registry.upload import push_blob
from images.store import Store
from images.workbench import Workbench
from profiles.load import load
from tests.conftest import running_registry

COMMIT = "c0ffee" + "0" * 34  # in no checkout: then only the labels can be compared
CREATED = "2024-05-06T07:08:09Z"
PACKAGES = {"base-files": "12.4+deb12u5", "libc6": "2.36-9", "libstdc++6": "12.2.0-14"}
PROGRAM = "#!/bin/sh\nexit 0\n"


def tar_gz(files: Mapping[str, bytes | None], **fields: Any) -> tuple[bytes, str]:
    """A layer as any tool might write it, and its diff_id. None as content: a folder; fields: of every entry."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
            member.size, member.mtime = len(data or b""), 1
            for field, value in fields.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(data or b""))
    return gzip.compress(out.getvalue(), mtime=0), of_bytes(out.getvalue())


def wheel_file(folder: Path, name: str, version: str, metadata: str = "") -> Path:
    """A wheel of one module on disk."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": f"VERSION = '{version}'\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{metadata}",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(zipfile.ZipInfo(inside, (2024, 1, 1, 0, 0, 0)), text)
    return path


@dataclass
class Workshop:
    """Makes images in a store of its own, as `build` does, and publishes them as `push` does."""

    bench: Workbench
    folder: Path
    registry: str
    name: str

    @property
    def store(self) -> Store:
        return self.bench.store

    def repository(self, tag: str = "") -> Repository:
        return self.bench.registries.repository(f"{self.registry}/{self.name}{':' + tag if tag else ''}")

    def ref(self, tag: str) -> str:
        return f"{self.registry}/{self.name}:{tag}"

    def base(self, entrypoint: tuple[str, ...] = ()) -> tuple[Base, BaseImage]:
        """A bootstrapped base with merged /usr, in the layout, remembered as the bootstrap does."""
        layer, diff_id = tar_gz({"usr": None, "usr/bin": None, "usr/bin/sh": b"shell"})
        layout = self.store.layout
        settings = {"Env": ["PATH=/usr/bin"], "Entrypoint": list(entrypoint) or None}
        config = canonical(
            {
                "architecture": "amd64",
                "os": "linux",
                "created": "1970-01-01T00:00:01Z",
                "config": settings,
                "rootfs": {"type": "layers", "diff_ids": [diff_id]},
                "history": [{"created": "1970-01-01T00:00:01Z", "created_by": "mmdebstrap bookworm"}],
            }
        )
        manifest = build(
            {
                "schemaVersion": 2,
                "mediaType": media.OCI_MANIFEST,
                "config": Descriptor(media.OCI_CONFIG, layout.put_blob(config), len(config)).to_json(),
                "layers": [Descriptor(media.OCI.gzip_layer, layout.put_blob(layer), len(layer)).to_json()],
            }
        )
        layout.put_manifest(manifest, f"base-debian-bookworm-{manifest.digest[7:19]}")
        memo = {"suite": "bookworm", "digest": manifest.digest, "diff_id": diff_id, "packages": PACKAGES}
        (self.store.bases / "debian-0123456789abcdef.json").write_text(json.dumps(memo))
        base = Base("debian:bookworm", manifest.digest, "debian", python="3.11")
        return base, BaseImage(manifest, config)

    def resolved(
        self,
        *,
        trainer: str = "print('train')\n",
        wheels: Mapping[str, str] | None = None,
        entrypoint: tuple[str, ...] = (),
        scripts: Mapping[str, str] | None = None,
        compression: str = "gzip",
        **config: Any,
    ) -> Resolved:
        """What `resolve_profile` gives, for the profile cpu with other content."""
        base, image = self.base(entrypoint)
        sources = Sources(self.folder)
        pins, paths = [], {}
        for name, version in (wheels if wheels is not None else {"demo": "1.0"}).items():
            path = wheel_file(self.folder, name, version, "License-Expression: MIT\n")
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            pins.append(Pin(name, version, path.name, sha256, path.stat().st_size))
            paths[path.name] = path
        texts = {f"{BIN}/{script}": PROGRAM for script in ("entrypoint", "run", "train", "healthcheck")}
        texts |= {f"{HOME}/profile.json": json.dumps({"volume": "/workspace"}), **(scripts or {})}
        rendered = tuple(
            sources.render(target, target, text, 0o755 if f"{BIN}/" in target else 0o644)
            for target, text in sorted(texts.items())
        )
        files = (sources.render("trainer", f"{APP}/trainer/__main__.py", trainer),)
        light = tuple(Wheel(p.name, p.version, p.filename, p.sha256, p.size) for p in pins)
        told = {"title": "stoker-cpu", "version": "0.1.0", "created": CREATED, "revision": COMMIT}
        told |= {"base.name": base.name, "base.digest": base.digest}
        annotations = {f"org.opencontainers.image.{name}": value for name, value in told.items()}
        labels = {**annotations, "stoker.profile": "cpu", "stoker.precision": "fp32", "stoker.gpu": "none"}
        settings: dict[str, Any] = {
            "env": (("STOKER_PROFILE", "cpu"),),
            "entrypoint": (f"/{BIN}/entrypoint", *entrypoint),
            "cmd": (f"/{BIN}/run",),
            "labels": tuple(sorted(labels.items())),
            **config,
        }
        plan = ImagePlan(
            profile="cpu",
            version="0.1.0",
            commit=COMMIT,
            dirty=False,
            created=CREATED,
            platform="linux/amd64",
            base=base,
            layers=(
                *((Layer("wheels", wheels=light),) if light else ()),
                Layer("scripts", rendered),
                Layer("trainer", files),
            ),
            config=Config(**settings),
            compression="zstd" if compression == "zstd" else "gzip",
            annotations=tuple(sorted(annotations.items())),
        )
        locked = Locked(base.digest, None, "3.11", tuple(pins), PACKAGES)
        return Fetched(load("cpu"), plan, image, sources, locked, self.bench, paths)

    def image(self, resolved: Resolved | None = None, **changes: Any) -> Image:
        resolved = resolved or self.resolved(**changes)
        fetch = resolved.fetch_wheels
        image = append(resolved.plan, resolved.base, resolved.sources, fetch, self.store, Silent())
        keep(image)
        return image

    def push(self, resolved: Resolved | None = None, **changes: Any) -> Image:
        """Built, pushed under its own tag, SBOM attached."""
        resolved = resolved or self.resolved(**changes)
        image, target = self.image(resolved), self.repository()
        push_image(image, target, [image.plan.tag], record=Record(self.store.record))
        sbom.attach_to(target, image, resolved)
        return image

    def put(self, tag: str, manifest: Manifest, *blobs: tuple[bytes, Descriptor]) -> str:
        """Anything at all into the registry, as someone else might. Returns the reference."""
        target = self.repository().for_push()
        for data, descriptor in blobs:
            push_blob(target, BytesBlob(data, descriptor))
        target.put_manifest(tag, manifest)
        return self.ref(tag)

    def altered(
        self,
        image: Image,
        *,
        config: Callable[[dict[str, Any]], object] = lambda value: None,
        manifest: Callable[[dict[str, Any]], object] = lambda value: None,
        tag: str = "",
    ) -> str:
        """The pushed image with another config or manifest, under the same tag unless another is given."""
        told, value = json.loads(image.config), json.loads(image.manifest.raw)
        config(told)
        raw = canonical(told)
        descriptor = Descriptor(image.manifest.config.media_type, of_bytes(raw), len(raw))
        value["config"] = descriptor.to_json()
        manifest(value)
        return self.put(tag or image.plan.tag, build(value), (raw, descriptor))

    def with_layer(self, image: Image, files: Mapping[str, bytes | None], name: str = "extra", **fields: Any) -> str:
        """The pushed image with one more layer of ours."""
        data, diff_id = tar_gz(files, **fields)
        layer = Descriptor(image.manifest.family.gzip_layer, of_bytes(data), len(data))
        push_blob(self.repository().for_push(), BytesBlob(data, layer))

        def config(value: dict[str, Any]) -> None:
            value["rootfs"]["diff_ids"].append(diff_id)
            value["history"].append({"created": CREATED, "created_by": f"stoker: {name}", "comment": "stoker"})

        return self.altered(image, config=config, manifest=lambda value: value["layers"].append(layer.to_json()))


@dataclass(frozen=True)
class Fetched(Resolved):
    """Resolved, with its wheels at hand instead of on an index."""

    paths: Mapping[str, Path]

    def fetch_wheels(self) -> Mapping[str, Path]:
        return self.paths


@dataclass(frozen=True)
class Shelf:
    """A registry whose disk the tests can reach."""

    address: str
    folder: Path

    def blob(self, digest: str) -> Path:
        digits = digest.removeprefix("sha256:")
        return self.folder / f"data/docker/registry/v2/blobs/sha256/{digits[:2]}/{digits}/data"


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    folder = tmp_path_factory.mktemp("shelf")
    with running_registry(folder) as address:
        yield Shelf(address, folder)


@pytest.fixture
def workshop(tmp_path: Path, shelf: Shelf) -> Workshop:
    """A store, and a repository of the test's own."""
    name = "checks/t" + hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]
    bench = Workbench(tmp_path, Store(tmp_path / "state"), {}, Silent())
    return Workshop(bench, tmp_path, shelf.address, name)


@pytest.fixture
def other_workshop(workshop: Workshop, tmp_path: Path) -> Workshop:
    """Another machine: the same repository, an empty store, another folder."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    bench = replace(workshop.bench, root=folder, store=Store(folder / "state"))
    return Workshop(bench, folder, workshop.registry, workshop.name)
