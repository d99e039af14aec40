"""Temporary files: complete or gone."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from images.oci.incoming import incoming, room, sweep
from profiles.errors import OutsideFailed


def test_a_placed_file_has_its_name_and_no_temporary_one(tmp_path: Path) -> None:
    with incoming(tmp_path / "in") as fresh:
        fresh.file.write(b"data")
        fresh.place(tmp_path / "out" / "name")
    assert (tmp_path / "out" / "name").read_bytes() == b"data"
    assert list((tmp_path / "in").iterdir()) == []


def test_an_abandoned_file_is_gone(tmp_path: Path) -> None:
    with pytest.raises(KeyError), incoming(tmp_path) as fresh:
        fresh.file.write(b"data")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_sweeping_spares_the_living(tmp_path: Path) -> None:
    (tmp_path / "left-by-a-dead-writer").write_bytes(b"12345")
    with incoming(tmp_path) as fresh:
        assert sweep(tmp_path) == 5
        assert list(tmp_path.iterdir()) == [fresh.path]
    assert sweep(tmp_path) == 0
    assert sweep(tmp_path / "not-there") == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_says_what_is_needed_and_free(tmp_path: Path, number: int) -> None:
    with (
        pytest.raises(OutsideFailed, match=r"layer x needs up to 1\.2 MB, .* are free in"),
        room(tmp_path, 1234567, "layer x"),
    ):
        raise OSError(number, "No space left on device")


def test_other_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), room(tmp_path, 1, "x"):
        raise PermissionError(errno.EACCES, "no")
