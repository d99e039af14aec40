"""Compressors: the same bytes everywhere, readable by everyone, in flat memory."""

from __future__ import annotations

import gzip
import hashlib
import io
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from images.layers import compress
from images.oci import media
from profiles.errors import WrongInput

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = b"".join(b"%d: the quick brown fox\n" % (n * n) for n in range(120_000))  # 3.8 MB: several members


def squeezed(name: str, data: bytes, *, threads: int = 2, chunk: int = 0) -> bytes:
    by = compress.compressor(name)
    chunks = [data[at : at + chunk] for at in range(0, len(data), chunk)] if chunk else [data]
    return b"".join(compress.compressed(compress.gathered(chunks, by.piece), by, threads))


def unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("gzip", "5bd8d18255cbf402f0e4cfa4f94ea3a64a5e97cc962b3662ee84ab637bd9bf1c"),
        ("zstd", "d3a755d315ee397340d68cd5d088cb21c3dad5e9c4aafd7f489ec0c4f7a4e574"),
    ],
)
def test_known_bytes(name: str, digest: str) -> None:
    """Blob digests hang on the pinned libraries: when this fails after an update, every layer gets a new digest."""
    assert hashlib.sha256(squeezed(name, SAMPLE)).hexdigest() == digest


def test_the_compressor_names_what_decides_its_bytes() -> None:
    assert compress.compressor("gzip").id == "gzip:deflate-0.9.0:level6:member1MiB"
    assert compress.compressor("zstd").id == "zstd:libzstd-1.5.7:level6:frame4MiB"


@pytest.mark.parametrize("data", [b"", b"x", SAMPLE, bytes(5 << 20), SAMPLE[: 1 << 20]])
def test_python_and_gnu_gzip_read_it(data: bytes) -> None:
    packed = squeezed("gzip", data)
    assert gzip.decompress(packed) == data
    assert subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True).stdout == data


@pytest.mark.parametrize("data", [b"", b"x", SAMPLE, bytes(9 << 20)])
def test_the_reference_zstd_reads_it(data: bytes) -> None:
    assert unzstd(squeezed("zstd", data)) == data


def test_the_gzip_header_tells_nothing_of_this_machine() -> None:
    packed = squeezed("gzip", b"data")
    assert packed[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no flags, time 0, system unknown


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_neither_threads_nor_chunks_change_the_bytes(name: str) -> None:
    expected = squeezed(name, SAMPLE, threads=1)
    for threads, chunk in ((2, 0), (4, 0), (2, 512), (3, 1_000_003)):
        assert squeezed(name, SAMPLE, threads=threads, chunk=chunk) == expected


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=5000), st.lists(st.integers(1, 700), min_size=1, max_size=8), st.integers(1, 900))
def test_gathered_pieces_are_the_same_bytes_in_fixed_sizes(data: bytes, cuts: list[int], size: int) -> None:
    def chunks() -> Iterator[bytes]:
        at = turn = 0
        while at < len(data):
            step = cuts[turn % len(cuts)]
            yield data[at : at + step]
            at, turn = at + step, turn + 1

    pieces = list(compress.gathered(chunks(), size))
    assert b"".join(pieces) == data
    assert all(len(piece) == size for piece in pieces[:-1])
    assert all(0 < len(piece) <= size for piece in pieces)


def test_an_error_in_the_source_comes_out_and_leaves_no_thread_behind() -> None:
    import threading

    def failing() -> Iterator[bytes]:
        yield from (bytes(1 << 20) for _ in range(3))
        raise OSError("gone")

    before = threading.active_count()
    with pytest.raises(OSError, match="gone"):
        list(compress.compressed(failing(), compress.compressor("gzip")))
    assert threading.active_count() == before


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_memory_stays_flat_for_300_mb(name: str) -> None:
    """In a process of its own: the peak of this one belongs to other tests."""
    program = f"""
        import resource
        from images.layers import compress
        by = compress.compressor({name!r})
        by.pack(b"warm")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        total = 0
        for member in compress.compressed((bytes(by.piece) for _ in range((300 << 20) // by.piece)), by):
            total += len(member)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    assert int(done.stdout) < 80_000  # KiB


def test_docker_manifests_have_no_zstd() -> None:
    assert compress.media_type("zstd", media.OCI) == media.OCI_LAYER + "+zstd"
    assert compress.media_type("gzip", media.DOCKER) == media.DOCKER_LAYER + ".gzip"
    with pytest.raises(WrongInput, match="do not exist in docker manifests"):
        compress.media_type("zstd", media.DOCKER)


def test_an_unknown_compression_is_refused() -> None:
    with pytest.raises(WrongInput, match="'lz4'"):
        compress.compressor("lz4")
