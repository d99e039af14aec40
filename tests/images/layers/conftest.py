"""Parts that several layer tests share."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from images.layers.tar import Entry


def file_entry(path: str, data: bytes = b"", mode: int = 0o644) -> Entry:
    return Entry(path, "file", mode, len(data), lambda: io.BytesIO(data), sha256=hashlib.sha256(data).hexdigest())


@pytest.fixture(name="file_entry")
def file_entry_fixture() -> Callable[..., Entry]:
    """file_entry(path, data, mode): a file of a layer whose content is in memory."""
    return file_entry


def record_row(path: str, data: bytes, algorithm: str = "sha256") -> str:
    coded = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode()
    return f'"{path}",{algorithm}={coded},{len(data)}\n'


@pytest.fixture
def make_wheel(tmp_path: Path) -> Callable[..., Path]:
    """make_wheel(files, name=, version=, executable=, record=, tags=): a wheel on disk, RECORD included."""

    def make(
        files: Mapping[str, bytes],
        name: str = "demo",
        version: str = "1.0",
        executable: tuple[str, ...] = (),
        record: Callable[[str], str] = lambda text: text,
        wheel_version: str = "1.0",
    ) -> Path:
        path = tmp_path / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        everything = {
            **files,
            f"{info}/WHEEL": f"Wheel-Version: {wheel_version}\nRoot-Is-Purelib: true\nTag: py3-none-any\n".encode(),
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        }
        rows = "".join(record_row(inside, data) for inside, data in everything.items())
        everything[f"{info}/RECORD"] = record(rows + f"{info}/RECORD,,\n").encode()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for inside, data in everything.items():
                member = zipfile.ZipInfo(inside, (2024, 2, 3, 4, 5, 6))
                member.external_attr = (0o100755 if inside in executable else 0o100644) << 16
                archive.writestr(member, data)
        return path

    return make
