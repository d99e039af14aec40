"""Foundations: the one layer that system packages made, taken out of what an engine saves."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.builders import foundation
from images.builders.buildkit import Options
from images.builders.engine import Engine
from images.layers.cache import LayerCache
from images.layers.tar import MTIME
from images.oci import media
from images.plan import Foundation, ImagePlan
from images.progress import Silent
from profiles.errors import OutsideFailed
from tests.images.builders.compare import flatten

NEW = 1_800_000_000  # a time of day that must not stay


def layer(*names: str, mtime: int = NEW, engine: str = "new") -> bytes:
    """A layer as engines write it: before 25.0 ('old') with the owners' names and the kind of file in the mode."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            member = tarfile.TarInfo(name.rstrip("/"))
            member.mtime, member.mode, member.uid, member.gid = mtime, 0o2755, 7, 8
            member.pax_headers = {"SCHILY.xattr.security.capability": "cap"} if name.endswith("capable") else {}
            if engine == "old":
                member.uname, member.gname = "root", "shadow"
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            else:
                member.size = len(name)
                archive.addfile(member, io.BytesIO(name.encode()))
    return out.getvalue()


def diff_id(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def archive(members: dict[str, bytes], links: dict[str, str] | None = None) -> Iterator[bytes]:
    """What `docker save` streams, in pieces of an awkward size."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    whole = out.getvalue()
    yield from (whole[at : at + 777] for at in range(0, len(whole), 777))


BASE, ADDED = layer("base", "etc/"), layer("usr/bin/tool", "etc/", "etc/.wh.old", "usr/bin/capable")


def old_archive() -> Iterator[bytes]:
    """Docker 20.10: folders named by ids that say nothing of the content, the newest layer first."""
    return archive(
        {
            "1" * 64 + "/layer.tar": ADDED,
            "1" * 64 + "/json": b"{}",
            "f" * 64 + "/layer.tar": BASE,
            "manifest.json": b"[]",
        },
        {"e" * 64 + "/layer.tar": f"../{'f' * 64}/layer.tar"},
    )


def new_archive(added: bytes = ADDED) -> Iterator[bytes]:
    """Engine 25.0 and newer: an OCI layout. With containerd's store its layers are compressed."""
    blobs = {f"blobs/sha256/{hashlib.sha256(data).hexdigest()}": data for data in (BASE, b'{"config": 1}', added)}
    return archive({**blobs, "index.json": b"{}", "oci-layout": b"{}"})


@pytest.fixture
def cache(tmp_path: Path) -> LayerCache:
    return LayerCache(tmp_path / "cache", tmp_path / "layout")


def taken(pieces: Iterator[bytes], cache: LayerCache, wanted: bytes = ADDED) -> foundation.LayerBlob:
    return foundation.take(pieces, diff_id(wanted), [diff_id(BASE)], cache, media.OCI, "gzip", Silent())


@pytest.mark.parametrize(
    "pieces",
    [old_archive, new_archive, lambda: new_archive(gzip.compress(ADDED))],
    ids=["docker 20.10", "docker 26", "containerd's store"],
)
def test_the_added_layer_is_found_in_every_kind_of_archive(cache: LayerCache, pieces: object) -> None:
    blob = taken(pieces(), cache)  # type: ignore[operator]
    assert hashlib.sha256(blob.path.read_bytes()).hexdigest() == blob.path.name
    assert diff_id(gzip.decompress(blob.path.read_bytes())) == blob.diff_id
    assert blob.descriptor.media_type == media.OCI.gzip_layer
    files = flatten([blob.path])
    assert files["usr/bin/tool"].sha256 == hashlib.sha256(b"usr/bin/tool").hexdigest()
    assert (files["usr/bin/tool"].mode, files["usr/bin/tool"].uid, files["usr/bin/tool"].gid) == (0o2755, 7, 8)


def test_engines_and_clocks_leave_no_trace(cache: LayerCache) -> None:
    names = ("usr/", "usr/.wh.gone", "usr/.wh..wh..opq")
    old, new = layer(*names, engine="old"), layer(*names, mtime=NEW + 99)
    first = taken(archive({"1" * 64 + "/layer.tar": old}), cache, old)
    assert first.diff_id == taken(new_archive(new), cache, new).diff_id


def test_times_of_files_and_capabilities_stay(cache: LayerCache) -> None:
    blob = taken(new_archive(), cache)
    with tarfile.open(blob.path) as found:
        times = {member.name: member.mtime for member in found}
        capability = found.getmember("usr/bin/capable").pax_headers
    assert times == {"usr/bin/tool": NEW, "etc": MTIME, "etc/.wh.old": MTIME, "usr/bin/capable": NEW}
    assert capability == {"SCHILY.xattr.security.capability": "cap"}


def test_an_archive_without_the_layer_is_an_error(cache: LayerCache) -> None:
    with pytest.raises(OutsideFailed, match="lacks the layer"):
        taken(archive({"1" * 64 + "/layer.tar": BASE}), cache)
    assert list(cache.layout.rglob("*.tar")) == []


def test_an_archive_that_breaks_off_is_an_error(cache: LayerCache) -> None:
    whole = b"".join(old_archive())
    for broken in (whole[:900], b"x" * 5000):
        with pytest.raises(OutsideFailed, match="cannot be read") as caught:
            foundation.take([broken], diff_id(ADDED), [], cache, media.OCI, "gzip", Silent())
        assert "again" in caught.value.next_step


@given(st.binary(max_size=500), st.lists(st.integers(1, 60), min_size=1))
def test_pieces_of_any_length_read_as_one_stream(data: bytes, sizes: list[int]) -> None:
    pieces, at = [], 0
    for size in sizes * len(data):
        pieces.append(data[at : at + size])
        at += size
    reader = foundation.Reader(pieces)
    found = b"".join(iter(lambda: reader.read(7), b""))
    assert found == data
    assert foundation.Reader(pieces).read() == data


@pytest.mark.parametrize(
    "found",
    [["a", "b"], ["a"], ["a", "x", "c"], ["a", "b", "c", "d"], []],
    ids=["none", "fewer", "other", "two", "empty"],
)
def test_only_one_layer_right_after_the_bases_will_do(found: list[str]) -> None:
    with pytest.raises(OutsideFailed, match="does not continue"):
        foundation.added(found, ["a", "b"])
    assert foundation.added(["a", "b", "c"], ["a", "b"]) == "c"


def test_the_wish_names_the_outcome(plan: ImagePlan) -> None:
    one, other = Foundation(("tmux",)), Foundation(("curl",))
    assert foundation.key(plan.base, one) == foundation.key(plan.base, one)
    assert foundation.key(plan.base, one) != foundation.key(plan.base, other)
    assert foundation.key(plan.base, one) != foundation.key(replace(plan.base, digest="sha256:" + "9" * 64), one)


def test_a_plan_without_packages_needs_nothing(plan: ImagePlan, cache: LayerCache) -> None:
    assert foundation.recall(plan, cache, media.OCI) == foundation.Made((), True)


# From here on in a real engine, with a real apt.


@pytest.mark.slow
def test_packages_become_one_layer_that_is_the_same_again(
    engine: Engine, apt_base: str, plan: ImagePlan, cache: LayerCache, tmp_path: Path
) -> None:
    inspected = engine.inspect(apt_base)
    wish = replace(plan, base=replace(plan.base, digest=inspected["Id"]), foundation=Foundation(("stoker-tool=1.0",)))
    options = Options(network="none")

    def make(cache: LayerCache, **more: bool) -> foundation.Made:
        return foundation.make(
            wish,
            engine=engine,
            base_diff_ids=inspected["RootFS"]["Layers"],
            cache=cache,
            family=media.OCI,
            base=apt_base,
            options=replace(options, **more),
        )

    first = make(cache)
    assert not first.reused
    (blob,) = first.layers
    files = flatten([blob.path])
    assert files["usr/bin/stoker-tool"].mode == 0o755
    assert not [
        path for path in files if "ssh_host" in path or path.startswith(("var/log/", "var/cache/apt/", "repository"))
    ]
    assert not [path for path in files if path.startswith("var/lib/apt/lists/")]
    assert make(cache) == foundation.Made(first.layers, True)
    engine.api.remove_image(f"stoker-foundation:{wish.foundation.key(wish.base)[:12]}")  # type: ignore[union-attr]
    again = make(LayerCache(tmp_path / "other cache", tmp_path / "other layout"), no_cache=True)
    assert again.layers[0].descriptor == blob.descriptor, "the step ran anew, and made the same bytes"


@pytest.mark.slow
def test_a_package_that_does_not_exist_is_named(
    engine: Engine, apt_base: str, plan: ImagePlan, cache: LayerCache
) -> None:
    wish = replace(
        plan, base=replace(plan.base, digest=engine.inspect(apt_base)["Id"]), foundation=Foundation(("nosuch",))
    )
    with pytest.raises(OutsideFailed, match="nosuch") as caught:
        foundation.make(
            wish,
            engine=engine,
            base_diff_ids=[],
            cache=cache,
            family=media.OCI,
            base=apt_base,
            options=Options(network="none"),
        )
    assert "system packages" in caught.value.next_step


def test_without_a_way_to_buildkit_it_is_refused_with_the_reason(
    plan: ImagePlan, cache: LayerCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from images.builders import route

    monkeypatch.setattr(route, "ALSO", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = Engine(None)  # type: ignore[arg-type]
    engine.__dict__["version"] = "26.1.5"
    with pytest.raises(OutsideFailed, match="no way to BuildKit"):
        foundation.make(
            replace(plan, foundation=Foundation(("tmux",))),
            engine=engine,
            base_diff_ids=[],
            cache=cache,
            family=media.OCI,
            base="b",
        )
