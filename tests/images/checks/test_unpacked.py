"""Layers read back: whatever compressed them, in whatever pieces they arrive."""

from __future__ import annotations

import gzip
import io
import tarfile
from itertools import pairwise
from typing import IO

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from images.checks.unpacked import PIECE, Unpacked, plain
from images.oci.digest import of_bytes
from profiles.errors import CheckFailed
from tests.images.checks.conftest import tar_gz


def read(member: tarfile.TarInfo, content: IO[bytes] | None) -> None:
    assert content is not None
    content.read()


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(data)) for place in at), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a != b]


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=4), st.lists(st.integers(0, 9000), max_size=8))
def test_members_and_frames_come_back_as_one(parts: list[bytes], places: list[int]):
    together = b"".join(parts)
    for pack in (gzip.compress, zstandard.ZstdCompressor().compress):
        packed = b"".join(pack(part) for part in parts)
        layer = Unpacked(cut(packed, places))
        assert layer.finish() == of_bytes(together)
        assert layer.size == len(together)


@given(
    st.binary(min_size=4, max_size=3000).filter(lambda data: data[:2] != b"\x1f\x8b"), st.lists(st.integers(0, 3000))
)
def test_plain_bytes_pass_through(data: bytes, places: list[int]):
    if not data.startswith(b"\x28\xb5\x2f\xfd"):
        assert b"".join(plain(cut(data, places))) == data


def test_a_bomb_comes_in_small_pieces():
    bomb = gzip.compress(bytes(64 << 20))
    assert max(len(piece) for piece in plain([bomb])) <= PIECE
    packed = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    assert max(len(piece) for piece in plain([packed])) <= PIECE


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor(write_checksum=True).compress])
def test_a_damaged_or_cut_blob_is_refused(pack):
    packed = pack(bytes(range(256)) * 40)
    damaged = bytearray(packed)
    damaged[len(damaged) // 2] ^= 0xFF
    with pytest.raises(CheckFailed):
        Unpacked([bytes(damaged)]).finish()


def test_a_cut_gzip_is_refused():
    packed = gzip.compress(b"content" * 100)
    with pytest.raises(CheckFailed, match="middle"):
        Unpacked([packed[:-9]]).finish()


def test_entries_come_with_their_content_and_the_diff_id_counts_the_padding_too():
    blob, diff_id = tar_gz({"a": None, "a/b": b"12", "c": b"x" * 5000})
    layer = Unpacked([blob[:7], memoryview(blob)[7:]])
    found = {}

    def look(member: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        found[member.name] = content.read() if content else None

    assert layer.visit(look) == diff_id
    assert found == {"a": None, "a/b": b"12", "c": b"x" * 5000}


def test_what_is_no_tar_is_refused():
    with pytest.raises(CheckFailed, match="tar"):
        Unpacked([gzip.compress(b"no tar at all" * 100)]).visit(read)


def test_a_tar_cut_inside_a_file_is_refused():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("long")
        member.size = 5000
        archive.addfile(member, io.BytesIO(b"x" * 5000))
    with pytest.raises(CheckFailed, match="unexpected end"):
        Unpacked([gzip.compress(out.getvalue()[:2000])]).visit(read)
