"""A bootstrapped base: nothing of this machine in it, and its drift told in one line."""

from __future__ import annotations

import os
import signal
import tarfile
from pathlib import Path

import pytest

from images.bases import debian
from images.build import Resolved
from images.builders.image import Image
from images.store import Store
from images.workbench import Workbench


class TestDrift:
    def test_names_what_changed(self):
        old = {"libc6": "2.36-9+deb12u13", "python3": "3.11.2-1", "gone": "1"}
        new = {"libc6": "2.36-9+deb12u14", "python3": "3.11.2-1", "fresh": "2"}
        text = debian.drift(old, new)
        assert "libc6 2.36-9+deb12u13 -> 2.36-9+deb12u14" in text
        assert "gone 1 -> absent" in text and "fresh absent -> 2" in text
        assert "python3" not in text

    def test_counts_what_it_does_not_name(self):
        old = {f"p{n}": "1" for n in range(9)}
        assert debian.drift(old, dict.fromkeys(old, "2")).endswith("and 6 more")

    def test_says_when_only_bytes_differ(self):
        assert debian.drift({"a": "1"}, {"a": "1"}) == "same packages, other bytes"


def test_the_command_names_no_mirror_inside_the_image():
    line = debian.command("mmdebstrap", "bookworm", ("python3",), Path("/scratch/root.tar"))
    [written] = [part for part in line if 'sources.list"' in part and "printf" in part]
    assert "deb.debian.org" in written
    assert "--include=python3" in line


def test_nothing_is_recalled_from_an_empty_store(tmp_path: Path):
    assert debian.recall("bookworm", ("python3",), Store(tmp_path)) is None


@pytest.mark.parametrize("content", ["{", "[]", "null", '{"digest": 3}'])
def test_a_damaged_memo_is_as_good_as_none(tmp_path: Path, content: str):
    store = Store(tmp_path)
    debian.memo("bookworm", (), store).write_text(content)
    assert debian.recall("bookworm", (), store) is None


class TestTheProgramBesideUs:
    def test_a_signal_to_its_process_group_does_not_reach_us(self):
        # What mmdebstrap does when the disk is full.
        code, said = debian.run_apart(["sh", "-c", "echo E: full >&2; kill -HUP 0; sleep 9"], dict(os.environ))
        assert (code, said) == (-signal.SIGHUP, "E: full\n")

    def test_is_interrupted_with_us(self, tmp_path: Path):
        mark = tmp_path / "interrupted"
        # The pause: a signal in the middle of Popen finds nobody yet who would hand it on.
        script = f"trap 'touch {mark}; exit' INT; sleep 1; kill -INT {os.getpid()}; while :; do sleep 0.01; done"
        with pytest.raises(KeyboardInterrupt):
            debian.run_apart(["sh", "-c", script], dict(os.environ))
        assert mark.exists()


class TestWhatItsFailureMeans:
    def test_a_full_disk_is_named(self, tmp_path: Path):
        error = debian.failed("bookworm", "tar: write error: No space left on device\nE: mmdebstrap failed", tmp_path)
        assert "no space left" in error.what and str(tmp_path) in error.what

    def test_else_its_first_error_is_quoted(self, tmp_path: Path):
        error = debian.failed("bookworm", "I: running\nE: no mirror\nE: failed to run\n", tmp_path)
        assert error.what.endswith(": E: no mirror")


@pytest.fixture(scope="module")
def members(cpu_image: tuple[Workbench, Resolved, Image]) -> dict[str, tarfile.TarInfo]:
    """Path -> tar entry of the real base."""
    bench, resolved, _ = cpu_image
    [layer] = resolved.base.manifest.layers
    with tarfile.open(bench.store.layout.blob_path(layer.digest), "r:gz") as tar:
        return {member.name.removeprefix("./"): member for member in tar}


@pytest.mark.slow
class TestRealBase:
    @pytest.mark.parametrize(
        "path", ["etc/resolv.conf", "etc/hostname", "etc/machine-id", "var/log/dpkg.log", "stoker-packages"]
    )
    def test_what_differs_from_machine_to_machine_is_not_there(self, members, path):
        assert path not in members

    def test_apt_asks_debian_whatever_mirror_made_the_base(self, cpu_image):
        bench, resolved, _ = cpu_image
        [layer] = resolved.base.manifest.layers
        with tarfile.open(bench.store.layout.blob_path(layer.digest), "r:gz") as tar:
            listed = tar.extractfile("./etc/apt/sources.list").read().decode()
        assert {line.split()[1] for line in listed.splitlines()} == {
            "http://deb.debian.org/debian",
            "http://deb.debian.org/debian-security",
        }

    def test_times_are_the_packages_own(self, members):
        import time

        assert max(member.mtime for member in members.values()) < time.time() - 3600

    def test_licences_stay(self, members):
        assert "usr/share/doc/libc6/copyright" in members

    def test_it_is_recalled(self, cpu_image):
        bench, resolved, _ = cpu_image
        found = debian.recall("bookworm", tuple(resolved.profile.base.packages), bench.store)
        assert found is not None and found.digest == resolved.plan.base.digest
        assert found.packages["python3"].startswith("3.11")
