"""One plan, two builders: the same file system and the same config."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from images.builders import buildkit, config, context
from images.builders.engine import Engine
from images.layers.blob import write_layer
from images.layers.tar import Entry
from images.oci import media
from images.plan import ImagePlan
from tests.images.builders.compare import FOLDER, Flat, differences, flatten, from_archive, same_image

PACKAGES = "usr/local/lib/python3.12/dist-packages"
Entries = dict[str, list[Entry]]


def appended(plan: ImagePlan, entries: Entries, base: Flat, base_layers: list[Path], folder: Path) -> Flat:
    """The plan's image by the append builder's own parts: its layers and its config on top of the base's."""
    blobs = [write_layer(entries[layer.name], media.OCI, "gzip", folder) for layer in plan.layers]
    below = {"config": dict(base.config), "rootfs": {"type": "layers", "diff_ids": []}}
    derived = json.loads(config.derive(json.dumps(below).encode(), plan, [(blob.diff_id, "x") for blob in blobs]))
    return Flat(flatten([*base_layers, *(blob.path for blob in blobs)]), derived["config"])


@pytest.mark.slow
def test_both_builders_make_the_same_image(
    engine: Engine, base: str, plan: ImagePlan, entries: Entries, tmp_path: Path
) -> None:
    folder = context.write(plan, entries, tmp_path / "context", base=base, link=engine.buildkit_route().link)
    buildkit.build(plan, folder, engine=engine, tags=["stoker-test-same:1"])
    for name in ("built", "base"):
        (tmp_path / name).mkdir()
    built = from_archive(engine.save("stoker-test-same:1"), tmp_path / "built")
    below = from_archive(engine.save(base), tmp_path / "base")
    saved = tmp_path / "base" / "image"
    layers = [saved / name for name in json.loads((saved / "manifest.json").read_text())[0]["Layers"]]
    other = appended(plan, entries, below, layers, tmp_path / "layout")

    same_image(built, other)
    assert built.files["opt/stoker/both"].mode == 0o755, "the later layer wins"
    assert built.files["opt/stoker/current"].link == "bin/run"
    assert built.files[PACKAGES] == below.files[PACKAGES], "the base's own folders stay as they are"
    assert built.config["Healthcheck"]["Test"] == ["CMD", "/bin/cat", "/opt/stoker/ok file"]
    assert "NASTY=$HOME \\ \"q\" 's' ${x:-y} #\t`ls` \\" in built.config["Env"]
    assert built.config["Labels"]["stoker.plan"] == plan.hash


def tar(folder: Path, name: str, members: dict[str, bytes | str | None], **fields: int) -> Path:
    """A layer: bytes are files, text is a link, None a folder."""
    with tarfile.open(folder / name, "w") as archive:
        for path, content in members.items():
            member = tarfile.TarInfo(path)
            for key, value in fields.items():
                setattr(member, key, value)
            if isinstance(content, bytes):
                member.size = len(content)
            else:
                member.type = tarfile.DIRTYPE if content is None else tarfile.SYMTYPE
                member.linkname = content or ""
            archive.addfile(member, io.BytesIO(content if isinstance(content, bytes) else b""))
    return folder / name


def test_flattening_applies_deletions_in_order(tmp_path: Path) -> None:
    first = tar(tmp_path, "1", {"a/x": b"1", "a/y": b"1", "b/z": b"1", "c": b"1", "d/deep/er": b"1"})
    second = tar(
        tmp_path, "2", {"a/.wh.x": b"", "b/new": b"2", "b/.wh..wh..opq": b"", ".wh.c": b"", "d": b"now a file"}
    )
    third = tar(tmp_path, "3", {"a/x": b"back"})
    files = flatten([first, second, third])
    assert sorted(files) == ["a", "a/x", "a/y", "b", "b/new", "d"]
    assert files["a/x"].size == 4
    assert files["a"] == FOLDER, "nobody named it"


def test_gzip_or_not_is_the_same(tmp_path: Path) -> None:
    plain = tar(tmp_path, "1", {"a": b"1", "b": "a"})
    (tmp_path / "2").write_bytes(gzip.compress(plain.read_bytes()))
    assert flatten([plain]) == flatten([tmp_path / "2"])


@pytest.mark.parametrize(
    ("members", "fields"),
    [
        ({"a": b"2"}, {}),
        ({"a": b"1", "b": b""}, {}),
        ({"a": "x"}, {}),
        ({"a": None}, {}),
        ({}, {}),
        ({"a": b"1"}, {"mode": 0o755}),
        ({"a": b"1"}, {"uid": 7}),
        ({"a": b"1"}, {"gid": 7}),
    ],
)
def test_every_difference_is_found(
    tmp_path: Path, members: dict[str, bytes | str | None], fields: dict[str, int]
) -> None:
    one = Flat(flatten([tar(tmp_path, "1", {"a": b"1"})]), {})
    assert differences(one, Flat(flatten([tar(tmp_path, "2", members, **fields)]), {}))
    with pytest.raises(AssertionError, match=r"^a: "):
        same_image(one, Flat({}, {}))


def test_configs_differ_by_what_decides_a_run() -> None:
    one = Flat({}, {"Env": ["A=1"], "Cmd": [], "Hostname": "x"})
    same_image(one, Flat({}, {"Env": ["A=1"], "Cmd": None, "Labels": {}, "Hostname": "y"}))
    assert differences(one, Flat({}, {"Env": ["A=2"]}))
    assert differences(one, Flat({}, {"Env": ["A=1"], "User": "x"}))
