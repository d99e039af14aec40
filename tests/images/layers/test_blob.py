"""Layer blobs: one pass from entries to a file named by its digest, whatever happens on the way."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from images.layers import tar
from images.layers.blob import compress_tar, write_layer
from images.layers.tar import Entry
from images.oci import media
from profiles.errors import CheckFailed, OutsideFailed, WrongInput

ROOT = Path(__file__).resolve().parents[3]


def leftovers(folder: Path) -> list[Path]:
    return list((folder / "incoming").iterdir())


def test_descriptor_diff_id_and_file_agree(tmp_path: Path, file_entry: Callable[..., Entry]) -> None:
    entries = [file_entry("opt/stoker/a", b"alpha"), Entry("opt/stoker/b", "symlink", link="a")]
    blob = write_layer(entries, media.DOCKER, "gzip", tmp_path)
    raw = blob.path.read_bytes()
    assert blob.path == tmp_path / "blobs/sha256" / hashlib.sha256(raw).hexdigest()
    assert blob.descriptor.digest == "sha256:" + hashlib.sha256(raw).hexdigest()
    assert blob.descriptor.size == len(raw)
    assert blob.descriptor.media_type == media.DOCKER_LAYER + ".gzip"
    assert blob.diff_id == "sha256:" + hashlib.sha256(gzip.decompress(raw)).hexdigest()
    assert blob.files == 2
    assert blob.compressor.startswith("gzip:")
    assert blob.path.stat().st_mode & 0o777 == 0o644
    assert leftovers(tmp_path) == []


def test_both_compressions_hold_the_same_tar(tmp_path: Path, file_entry: Callable[..., Entry]) -> None:
    entries = [file_entry("opt/stoker/a", b"alpha" * 1000)]
    one, other = (write_layer(entries, media.OCI, name, tmp_path) for name in ("gzip", "zstd"))
    assert one.diff_id == other.diff_id
    assert one.descriptor.digest != other.descriptor.digest


def test_an_empty_layer_is_a_legal_layer(tmp_path: Path) -> None:
    blob = write_layer([], media.OCI, "gzip", tmp_path)
    assert gzip.decompress(blob.path.read_bytes()) == bytes(1024)


def test_zstd_in_a_docker_manifest_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(WrongInput, match="zstd"):
        write_layer([], media.DOCKER, "zstd", tmp_path)
    assert not (tmp_path / "blobs").exists()


def test_a_file_that_changes_meanwhile_leaves_no_blob(tmp_path: Path) -> None:
    entry = Entry("opt/stoker/a", "file", 0o644, 3, lambda: io.BytesIO(b"now longer"), source="trainer/a.py")
    with pytest.raises(CheckFailed, match=r"changed while it was read: trainer/a\.py"):
        write_layer([entry], media.OCI, "gzip", tmp_path)
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "blobs").exists()


def test_a_tar_made_elsewhere_is_compressed_as_it_is(tmp_path: Path) -> None:
    made = tmp_path / "root.tar"
    with tarfile.open(made, "w") as out:
        out.addfile(tarfile.TarInfo("etc/x"), io.BytesIO())
    with made.open("rb") as stream:
        blob = compress_tar(stream, media.OCI, "gzip", tmp_path / "layout")
    assert blob.diff_id == "sha256:" + hashlib.sha256(made.read_bytes()).hexdigest()
    assert gzip.decompress(blob.path.read_bytes()) == made.read_bytes()


def test_two_writers_of_one_layer_do_not_disturb_each_other(tmp_path: Path, file_entry: Callable[..., Entry]) -> None:
    entries = [file_entry(f"opt/stoker/{n}", os.urandom(50_000)) for n in range(40)]
    blobs = []
    workers = [
        threading.Thread(target=lambda: blobs.append(write_layer(entries, media.OCI, "gzip", tmp_path)))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(blobs) == 4
    assert len({blob.descriptor.digest for blob in blobs}) == 1
    assert hashlib.sha256(blobs[0].path.read_bytes()).hexdigest() == blobs[0].path.name
    assert leftovers(tmp_path) == []


def test_a_damaged_blob_of_another_length_is_replaced(tmp_path: Path, file_entry: Callable[..., Entry]) -> None:
    entries = [file_entry("opt/stoker/a", b"alpha")]
    path = write_layer(entries, media.OCI, "gzip", tmp_path).path
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    write_layer(entries, media.OCI, "gzip", tmp_path)
    assert path.read_bytes() == whole


def test_what_a_killed_build_left_is_swept_by_the_next_and_a_living_one_is_not(
    tmp_path: Path, file_entry: Callable[..., Entry]
) -> None:
    program = """
        import io, sys, time
        from pathlib import Path
        from images.layers.blob import write_layer
        from images.layers.tar import Entry
        from images.oci import media
        class Slow(io.RawIOBase):
            def read(self, size=-1):
                print("writing", flush=True)
                time.sleep(60)
        first = Entry("opt/stoker/a", "file", 0o644, 3 << 20, lambda: io.BytesIO(bytes(3 << 20)))
        write_layer([first, Entry("opt/stoker/b", "file", 0o644, 9, Slow)], media.OCI, "gzip", Path(sys.argv[1]))
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"writing\n"
        (half,) = leftovers(tmp_path)
        write_layer([file_entry("opt/stoker/a")], media.OCI, "gzip", tmp_path)
        assert leftovers(tmp_path) == [half]
        child.send_signal(signal.SIGKILL)
    assert half.exists()
    write_layer([file_entry("opt/stoker/a")], media.OCI, "gzip", tmp_path)
    assert leftovers(tmp_path) == []


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named_with_what_is_needed_and_what_is_free(
    tmp_path: Path, file_entry: Callable[..., Entry]
) -> None:
    noise = os.urandom(3_000_000)
    with small_disk(tmp_path / "disk") as disk:
        with pytest.raises(OutsideFailed) as caught:
            write_layer([file_entry("opt/stoker/noise", noise)], media.OCI, "gzip", disk, name="wheels")
        assert "layer wheels needs up to 3.0 MB" in caught.value.what
        assert "are free" in caught.value.what
        assert "prune" in caught.value.next_step
        assert leftovers(disk) == []
        assert write_layer([file_entry("opt/stoker/small", b"x")], media.OCI, "gzip", disk).path.is_file()


def test_a_file_size_limit_is_reported_alike(tmp_path: Path) -> None:
    program = """
        import io, os, resource, sys
        from pathlib import Path
        from images.layers.blob import write_layer
        from images.layers.tar import Entry
        from images.oci import media
        from profiles.errors import OutsideFailed
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        data = os.urandom(4 << 20)
        try:
            write_layer([Entry("opt/stoker/a", "file", 0o644, len(data), lambda: io.BytesIO(data))],
                        media.OCI, "gzip", Path(sys.argv[1]))
        except OutsideFailed as error:
            print(error.what)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "needs up to 4.2 MB" in done.stdout
    assert leftovers(tmp_path) == []


def test_memory_stays_flat_for_a_layer_of_300_mb(tmp_path: Path) -> None:
    """In a process of its own: the peak of this one belongs to other tests."""
    program = """
        import io, resource, sys
        from pathlib import Path
        from images.layers.blob import write_layer
        from images.layers.tar import Entry
        from images.oci import media
        class Zeros(io.RawIOBase):
            left = 300 << 20
            def read(self, size=-1):
                size = min(size, self.left)
                self.left -= size
                return bytes(size)
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        write_layer([], media.OCI, "gzip", Path(sys.argv[1]))
        before = peak()
        blob = write_layer([Entry("opt/stoker/big", "file", 0o644, 300 << 20, Zeros)],
                           media.OCI, "gzip", Path(sys.argv[1]))
        print(peak() - before, blob.descriptor.size)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    grown, size = map(int, done.stdout.split())
    assert grown < 40_000  # KiB
    assert size < 1_000_000


def test_progress_counts_the_bytes_of_the_tar(tmp_path: Path, file_entry: Callable[..., Entry]) -> None:
    from images.progress import Silent

    class Counting(Silent):
        done = 0

        def advance(self, count: int) -> None:
            self.done += count

    counting = Counting()
    entries = [file_entry("opt/stoker/a", bytes(2_000_000))]
    write_layer(entries, media.OCI, "gzip", tmp_path, progress=counting)
    assert counting.done == tar.length(tar.arranged(entries))
