"""Resolving requirements for the image's Python: against a small index of our own making, and pip itself."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from images.locks import pip
from images.locks.fetch import fetch
from images.locks.wheels import normalise, resolve, write_stub
from images.progress import Silent
from profiles.errors import CheckFailed, OutsideFailed, WrongInput

TARGET = pip.Target("3.12", "linux/amd64")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only index pip sees."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def wheel(folder: Path, name: str, version: str, needs: tuple[str, ...] = (), tag: str = "py3-none-any") -> Path:
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as out:
        lines = "".join(f"Requires-Dist: {need}\n" for need in needs)
        out.writestr(f"{name.replace('-', '_')}/__init__.py", f"VERSION = '{version}'\n")
        out.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}")
        out.writestr(f"{stem}.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        out.writestr(f"{stem}.dist-info/RECORD", "")
    return path


def sdist(folder: Path, name: str, version: str) -> Path:
    setup = f"from setuptools import setup; setup(name={name!r}, version={version!r}, py_modules=[{name!r}])\n"
    path = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as out:
        for member, text in (("setup.py", setup), (f"{name}.py", "x = 1\n"), ("PKG-INFO", f"Name: {name}\n")):
            info = tarfile.TarInfo(f"{name}-{version}/{member}")
            info.size = len(text)
            out.addfile(info, io.BytesIO(text.encode()))
    return path


def pins(requirements, tmp_path, owned=None, target=TARGET):
    wheels = tmp_path / "wheels"
    wheels.mkdir(exist_ok=True)
    return resolve(tuple(requirements), target, owned or {}, (), wheels, Silent())


class TestResolve:
    def test_the_closure_with_hashes(self, index: Path, tmp_path: Path):
        path = wheel(index, "outer", "1.0", ("inner>=2",))
        wheel(index, "inner", "2.5")
        found = {pin.name: pin for pin in pins(["outer"], tmp_path)}
        assert {name: pin.version for name, pin in found.items()} == {"outer": "1.0", "inner": "2.5"}
        assert found["outer"].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_wheels_are_for_the_images_python_not_for_ours(self, index: Path, tmp_path: Path):
        for tag in ("cp310-cp310", "cp312-cp312"):
            wheel(index, "native", "1.0", tag=f"{tag}-manylinux_2_28_x86_64")
        [pin] = pins(["native"], tmp_path)
        assert "cp312" in pin.filename
        [pin] = pins(["native"], tmp_path, target=pip.Target("3.10", "linux/amd64"))
        assert "cp310" in pin.filename

    def test_what_the_base_owns_is_left_out(self, index: Path, tmp_path: Path):
        wheel(index, "trainer-kit", "1.0", ("torch>=2.4",))
        wheel(index, "torch", "2.13.0")
        [pin] = pins(["trainer-kit"], tmp_path, {"torch": "2.8.0a0+5228986"})
        assert pin.name == "trainer-kit"

    def test_nvidias_pre_release_does_not_satisfy_its_own_number(self, index: Path, tmp_path: Path):
        # PEP 440: 2.8.0a0 < 2.8.0. A plain pip install would replace NVIDIA's torch here.
        wheel(index, "trainer-kit", "1.0", ("torch>=2.8",))
        wheel(index, "torch", "2.13.0")
        with pytest.raises(WrongInput, match="torch"):
            pins(["trainer-kit"], tmp_path, {"torch": "2.8.0a0+5228986"})

    def test_owned_packages_of_unknown_version_are_dropped(self, index: Path, tmp_path: Path):
        wheel(index, "trainer-kit", "1.0", ("apex",))
        wheel(index, "apex", "0.1")
        assert [pin.name for pin in pins(["trainer-kit"], tmp_path, {"apex": ""})] == ["trainer-kit"]

    def test_conflicting_requirements(self, index: Path, tmp_path: Path):
        wheel(index, "one", "1.0", ("shared<2",))
        wheel(index, "two", "1.0", ("shared>=2",))
        wheel(index, "shared", "1.0")
        wheel(index, "shared", "2.0")
        with pytest.raises(WrongInput, match="conflict"):
            pins(["one", "two"], tmp_path)

    def test_a_package_that_does_not_exist(self, index: Path, tmp_path: Path):
        with pytest.raises(WrongInput, match="no-such-thing"):
            pins(["no-such-thing"], tmp_path)

    def test_no_requirements_ask_nobody(self, tmp_path: Path):
        assert pins([], tmp_path) == []


class TestFetch:
    def test_brings_the_locked_files_once(self, index: Path, tmp_path: Path):
        wheel(index, "outer", "1.0")
        found = pins(["outer"], tmp_path)
        paths = fetch(found, TARGET, (), tmp_path / "wheels", Silent())
        assert hashlib.sha256(paths[found[0].filename].read_bytes()).hexdigest() == found[0].sha256
        for path in index.iterdir():
            path.unlink()
        assert fetch(found, TARGET, (), tmp_path / "wheels", Silent()) == paths  # without the index

    def test_another_file_under_the_same_name_is_refused(self, index: Path, tmp_path: Path):
        wheel(index, "outer", "1.0")
        found = pins(["outer"], tmp_path)
        wheel(index, "outer", "1.0", ("something",))
        with pytest.raises((CheckFailed, OutsideFailed)):
            fetch(found, TARGET, (), tmp_path / "wheels", Silent())

    def test_a_file_that_is_gone(self, index: Path, tmp_path: Path):
        path = wheel(index, "outer", "1.0")
        found = pins(["outer"], tmp_path)
        path.unlink()
        with pytest.raises(OutsideFailed, match="outer"):
            fetch(found, TARGET, (), tmp_path / "wheels", Silent())


class TestNormalise:
    def test_equal_contents_give_equal_bytes(self, tmp_path: Path):
        for number, date in enumerate(((2020, 1, 1, 0, 0, 0), (2024, 5, 6, 7, 8, 10))):
            with zipfile.ZipFile(tmp_path / f"{number}.whl", "w", zipfile.ZIP_DEFLATED) as out:
                names = ["a.py", "b.py"] if number else ["b.py", "a.py"]
                for name in names:
                    out.writestr(zipfile.ZipInfo(name, date), name)
            normalise(tmp_path / f"{number}.whl", tmp_path / f"n{number}.whl")
        assert (tmp_path / "n0.whl").read_bytes() == (tmp_path / "n1.whl").read_bytes()


def test_a_stub_tells_pip_its_version(tmp_path: Path):
    write_stub(tmp_path, "transformer-engine", "2.4.0+3cd6870")
    assert [path.name for path in tmp_path.iterdir()] == ["transformer_engine-2.4.0+3cd6870-py3-none-any.whl"]


@pytest.mark.slow
def test_a_source_only_package_becomes_the_same_wheel_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Its build needs setuptools from the real index; the package itself is ours.
    links = tmp_path / "links"
    links.mkdir()
    source = sdist(links, "sourceonly", "1.0")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    [pin] = pins(["sourceonly"], tmp_path)
    assert pin.sdist == ("sourceonly-1.0.tar.gz", hashlib.sha256(source.read_bytes()).hexdigest())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    paths = fetch([pin], TARGET, (), elsewhere, Silent())  # built again, on a machine that has no wheel of it
    assert hashlib.sha256(paths[pin.filename].read_bytes()).hexdigest() == pin.sha256
