"""Wheels laid out as layer entries, and found again by the tools that look for installed packages."""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import io
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from images.layers import tar
from images.layers.blob import write_layer
from images.layers.tar import Entry
from images.layers.wheels import merge_wheels, wheel_entries
from images.oci import media
from images.plan import SITE, Wheel
from profiles.errors import CheckFailed, WrongInput

MakeWheel = Callable[..., Path]
FILES = {
    "demo/__init__.py": b"def main():\n    print('it runs')\n    return 3\n",
    "demo/native.so": b"\x7fELF",
    "demo/__pycache__/__init__.cpython-311.pyc": b"stale",
    "demo-1.0.data/purelib/pure.py": b"pure = 1\n",
    "demo-1.0.data/platlib/plat.py": b"plat = 1\n",
    "demo-1.0.data/scripts/demo-tool": b"#!python\nimport demo\nprint(demo.__file__)\n",
    "demo-1.0.data/scripts/shell-tool": b"#!/bin/sh\necho shell\n",
    "demo-1.0.data/data/share/demo.txt": b"shared",
    "demo-1.0.data/headers/demo.h": b"#define DEMO",
    "demo-1.0.dist-info/entry_points.txt": b"[console_scripts]\nRun-Demo = demo:main\n[other]\nx = y:z\n",
    "demo-1.0.dist-info/INSTALLER": b"somebody else\n",
    "demo-1.0.dist-info/direct_url.json": b"{}",
}


def by_name(entries: list[Entry]) -> dict[str, Entry]:
    return {entry.path.removeprefix(SITE + "/"): entry for entry in entries}


def content(entry: Entry) -> bytes:
    return b"".join(tar.content(entry))


@pytest.fixture
def installed(make_wheel: MakeWheel, tmp_path: Path) -> Path:
    """The site folder of a layer with the demo wheel, unpacked by Python's tarfile."""
    blob = write_layer(wheel_entries(make_wheel(FILES)), media.OCI, "gzip", tmp_path / "layout")
    with tarfile.open(blob.path) as layer:
        layer.extractall(tmp_path / "root", filter="tar")
    return tmp_path / "root" / SITE


def test_every_scheme_lands_where_the_path_file_finds_it(make_wheel: MakeWheel) -> None:
    entries = by_name(wheel_entries(make_wheel(FILES)))
    assert set(entries) == {
        "demo/__init__.py",
        "demo/native.so",
        "pure.py",
        "plat.py",
        "bin/demo-tool",
        "bin/shell-tool",
        "bin/Run-Demo",
        "share/demo.txt",
        "include/demo/demo.h",
        "demo-1.0.dist-info/WHEEL",
        "demo-1.0.dist-info/METADATA",
        "demo-1.0.dist-info/RECORD",
        "demo-1.0.dist-info/INSTALLER",
        "demo-1.0.dist-info/entry_points.txt",
    }
    assert content(entries["demo-1.0.dist-info/INSTALLER"]) == b"stoker\n"
    assert {name for name, entry in entries.items() if entry.mode == 0o755} == {
        "bin/demo-tool",
        "bin/shell-tool",
        "bin/Run-Demo",
    }


def test_the_executable_bit_of_a_member_is_kept(make_wheel: MakeWheel) -> None:
    entries = by_name(wheel_entries(make_wheel({"demo/ptxas": b"x"}, executable=("demo/ptxas",))))
    assert entries["demo/ptxas"].mode == 0o755


def test_scripts_run_with_any_interpreter(installed: Path) -> None:
    tool = (installed / "bin" / "demo-tool").read_bytes()
    assert tool.startswith(b"#!/usr/bin/env python3\nimport demo")
    assert (installed / "bin" / "shell-tool").read_bytes().startswith(b"#!/bin/sh\n")
    command = [sys.executable, str(installed / "bin" / "Run-Demo")]
    done = subprocess.run(command, env={"PYTHONPATH": str(installed)}, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("it runs\n", 3)


def test_the_new_record_is_true(installed: Path) -> None:
    rows = list(csv.reader((installed / "demo-1.0.dist-info" / "RECORD").open()))
    on_disk = {str(path.relative_to(installed)) for path in installed.rglob("*") if path.is_file()}
    assert {row[0] for row in rows} == on_disk
    (package,) = importlib.metadata.distributions(path=[str(installed)])
    assert package.read_text("INSTALLER") == "stoker\n"
    for file in package.files or []:
        if file.hash is None:
            assert file.name == "RECORD"
            continue
        import base64

        digest = hashlib.sha256(file.read_binary()).digest()
        assert file.hash.value == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        assert file.size == len(file.read_binary())


def test_pip_sees_it_as_installed(installed: Path) -> None:
    command = [sys.executable, "-m", "pip", "list", "--path", str(installed), "--format=freeze"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert listed.split() == ["demo==1.0"]


def test_a_real_wheel_can_be_laid_out(tmp_path: Path) -> None:
    """pip's own, which every Python carries."""
    import ensurepip

    bundled = list((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    if not bundled:
        pytest.skip("this Python carries no bundled wheel")
    entries = wheel_entries(bundled[0])
    blob = write_layer(entries, media.OCI, "gzip", tmp_path)
    with tarfile.open(blob.path) as layer:
        layer.extractall(tmp_path / "root", filter="tar")
    program = [sys.executable, "-S", "-m", "pip", "--version"]
    done = subprocess.run(program, env={"PYTHONPATH": str(tmp_path / "root" / SITE)}, capture_output=True, text=True)
    assert done.stdout.startswith("pip "), done.stderr


def test_the_lock_is_checked_first(make_wheel: MakeWheel) -> None:
    path = make_wheel(FILES)
    good = hashlib.sha256(path.read_bytes()).hexdigest()
    assert wheel_entries(path, Wheel("demo", "1.0", path.name, good))
    with pytest.raises(CheckFailed, match=r"demo-1\.0-py3-none-any\.whl was sha256:.*the lock says"):
        wheel_entries(path, Wheel("demo", "1.0", path.name, "0" * 64))
    assert not path.exists()  # so that the same command fetches a good one
    with pytest.raises(WrongInput, match="is not at"):
        wheel_entries(path.with_name("absent.whl"), Wheel("demo", "1.0", "absent.whl", good))


def test_a_member_that_belies_its_record_stops_the_layer(make_wheel: MakeWheel, tmp_path: Path) -> None:
    path = make_wheel({"demo/a.py": b"a"}, record=lambda text: text.replace("demo/a.py", "demo/b.py"))
    assert by_name(wheel_entries(path))["demo/a.py"].sha256 == hashlib.sha256(b"a").hexdigest()  # not listed: hashed
    right = hashlib.sha256(b"a").digest()
    import base64

    coded = base64.urlsafe_b64encode(right).rstrip(b"=").decode()
    wrong = base64.urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()
    path = make_wheel({"demo/a.py": b"a"}, record=lambda text: text.replace(coded, wrong))
    with pytest.raises(CheckFailed, match=r"does not match the wheel's own RECORD: .*demo/a\.py"):
        write_layer(wheel_entries(path), media.OCI, "gzip", tmp_path / "layout")


def test_a_script_that_belies_its_record_is_refused(make_wheel: MakeWheel) -> None:
    files = {"demo-1.0.data/scripts/tool": b"#!python\n"}
    path = make_wheel(files, record=lambda text: text.replace(",9\n", ",8\n", 1))
    with pytest.raises(CheckFailed, match="RECORD"):
        wheel_entries(path)


def test_stronger_hashes_are_verified_and_weaker_ones_refused(make_wheel: MakeWheel) -> None:
    from tests.images.layers.conftest import record_row

    def with_hash(algorithm: str, data: bytes) -> Callable[[str], str]:
        return lambda text: record_row("demo/a.py", data, algorithm) + text.split("\n", 1)[1]

    good = by_name(wheel_entries(make_wheel({"demo/a.py": b"a"}, record=with_hash("sha512", b"a"))))
    assert good["demo/a.py"].sha256 == hashlib.sha256(b"a").hexdigest()
    with pytest.raises(CheckFailed, match="RECORD"):
        wheel_entries(make_wheel({"demo/a.py": b"a"}, record=with_hash("sha512", b"b")))
    with pytest.raises(WrongInput, match="'md5'"):
        wheel_entries(make_wheel({"demo/a.py": b"a"}, record=with_hash("md5", b"a")))


@pytest.mark.parametrize(
    "name", ["../evil.py", "/etc/cron.d/x", "demo/../../x", "demo\\x.py", "demo/.wh.x", "demo/a\0.py", "demo/./x"]
)
def test_unsafe_member_names_are_refused(make_wheel: MakeWheel, name: str) -> None:
    path = make_wheel({"demo/a.py": b""})
    raw = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(raw, "a") as archive:
        member = zipfile.ZipInfo("placeholder")
        member.filename = member.orig_filename = name
        archive.writestr(member, b"x")
    path.write_bytes(raw.getvalue())
    with pytest.raises(WrongInput, match="unsafe member"):
        wheel_entries(path)


def test_a_symbolic_link_or_a_double_in_the_zip_is_refused(make_wheel: MakeWheel) -> None:
    path = make_wheel({"demo/a.py": b""})
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo("demo/link")
        member.external_attr = 0o120777 << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(WrongInput, match="symbolic link"):
        wheel_entries(path)
    path = make_wheel({"demo/a.py": b""})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("demo/a.py", "other")
    with pytest.raises(WrongInput, match="there twice"):
        wheel_entries(path)


@pytest.mark.parametrize("scheme", ["weird", "scripts/../../x"])
def test_unknown_data_schemes_are_refused(make_wheel: MakeWheel, scheme: str) -> None:
    with pytest.raises(WrongInput):
        wheel_entries(make_wheel({f"demo-1.0.data/{scheme}/x": b""}))


def test_a_newer_wheel_format_is_refused(make_wheel: MakeWheel) -> None:
    with pytest.raises(WrongInput, match=r"wheel format 2\.0"):
        wheel_entries(make_wheel({}, wheel_version="2.0"))


@pytest.mark.parametrize("line", ["x = not a reference", "../x = a:b", "x = os:system;", "a b = c:d"])
def test_unusable_entry_points_are_refused(make_wheel: MakeWheel, line: str) -> None:
    text = f"[console_scripts]\n{line}\n".encode()
    with pytest.raises(WrongInput, match=r"entry_points\.txt"):
        wheel_entries(make_wheel({"demo-1.0.dist-info/entry_points.txt": text}))


def test_entry_points_with_dots_and_extras_are_understood(make_wheel: MakeWheel) -> None:
    text = b"[gui_scripts]\nx = a.b:c.d [extra]\n"
    entries = by_name(wheel_entries(make_wheel({"demo-1.0.dist-info/entry_points.txt": text})))
    script = content(entries["bin/x"]).decode()
    assert "from a.b import c\n" in script
    assert "sys.exit(c.d())" in script


@pytest.mark.parametrize("data", [b"", b"not a zip", b"PK\x03\x04 cut"])
def test_what_is_no_zip_is_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x-1-py3-none-any.whl"
    path.write_bytes(data)
    with pytest.raises(WrongInput, match=r"x-1-py3-none-any\.whl is not a readable wheel"):
        wheel_entries(path)


def test_a_zip_without_dist_info_is_no_wheel(tmp_path: Path) -> None:
    path = tmp_path / "x.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.py", "")
    with pytest.raises(WrongInput, match=r"0 \.dist-info folders"):
        wheel_entries(path)


def test_two_wheels_may_share_equal_files_only(make_wheel: MakeWheel) -> None:
    one = wheel_entries(make_wheel({"space/__init__.py": b"", "space/a.py": b"1"}, name="one"))
    two = wheel_entries(make_wheel({"space/__init__.py": b"", "space/b.py": b"2"}, name="two"))
    assert len(merge_wheels([one, two])) == len(one) + len(two) - 1
    three = wheel_entries(make_wheel({"space/a.py": b"other"}, name="three"))
    with pytest.raises(WrongInput, match=r"one-1\.0.*three-1\.0.*both bring '.*space/a\.py'"):
        merge_wheels([one, two, three])


def test_the_same_wheel_gives_the_same_layer_whatever_the_zip_dates_say(make_wheel: MakeWheel, tmp_path: Path) -> None:
    path = make_wheel(FILES)
    first = write_layer(wheel_entries(path), media.OCI, "gzip", tmp_path / "a")
    with zipfile.ZipFile(path) as archive:
        members = [(zipfile.ZipInfo(m.filename, (1999, 1, 1, 0, 0, 0)), archive.read(m)) for m in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for member, data in reversed(members):
            archive.writestr(member, data)
    assert write_layer(wheel_entries(path), media.OCI, "gzip", tmp_path / "b").descriptor == first.descriptor
