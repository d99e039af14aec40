"""ssh://: kills, cut lines, closed doors, a full far end; sshd is real."""

from __future__ import annotations

import hashlib
import subprocess
import time
from pathlib import Path

import pytest

from tests.sim.cut_line import CutLine
from tests.trainer.stores.sender import killed
from tests.trainer.stores.specification import item, noise, still, whole
from tests.trainer.stores.test_file_store import mounted
from trainer.stores import ssh_line
from trainer.stores.partial import partial_of
from trainer.stores.ssh import Ssh
from trainer.stores.ssh_words import refusal
from trainer.stores.store import Item, StoreError

pytestmark = pytest.mark.slow
MIB = 1 << 20


@pytest.fixture
def line(sshd, monkeypatch):
    """A line to sshd that can be cut."""
    monkeypatch.setenv("STOKER_SSH_OPTIONS", sshd.options())
    with CutLine(sshd.port) as line:
        yield line


@pytest.fixture
def far(sshd, line, tmp_path):
    store = Ssh(sshd.url(tmp_path / "far", line.port))
    yield store
    store.close()


def partials(folder):
    return list(folder.rglob("*.stoker-partial"))


def test_a_kill_in_the_middle_leaves_nothing_visible_and_the_next_put_goes_on(far, line, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(noise(8 * MIB))
    killed("ssh", far.url, source, "step/weights", 6 * MIB)
    for _ in range(200):
        if (half := partials(tmp_path)) and half[0].stat().st_size >= 4 * MIB:
            break
        time.sleep(0.02)  # what was under way arrives
    assert far.list() == {}
    line.up, counted = 0, []
    far.put([Item("step/weights", source, 8 * MIB)], counted.append)
    assert sum(counted) <= 4 * MIB and line.up < 5 * MIB
    assert whole(far, "step/weights") == noise(8 * MIB) and not partials(tmp_path)


def test_a_killed_process_leaves_no_connection_behind(far, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(noise(2 * MIB))
    killed("ssh", far.url, source, "a", MIB)
    for _ in range(500):
        left = subprocess.run(["pgrep", "-f", f"ssh .*{tmp_path}"], capture_output=True, text=True).stdout.split()
        if not left:
            break
        time.sleep(0.02)  # ssh notices the end of its input
    assert not left


def test_a_cut_line_is_transient_and_the_next_put_goes_on(far, line, tmp_path):
    content = noise(8 * MIB)
    line.cut_after = 5 * MIB
    with pytest.raises(StoreError) as cut:
        far.put([item("a", content)], still)
    assert cut.value.transient and far.list() == {}
    for _ in range(200):
        if partials(tmp_path)[0].stat().st_size >= 3 * MIB:
            break
        time.sleep(0.02)
    line.up = 0
    far.put([item("a", content)], still)
    assert line.up < 6 * MIB and whole(far, "a") == content


def test_a_line_that_is_cut_while_reading_is_transient(far, line):
    far.put([item("a", noise(8 * MIB))], still)
    pieces = far.read("a")
    next(pieces)
    line.cut()
    with pytest.raises(StoreError) as cut:
        list(pieces)
    assert cut.value.transient
    assert whole(far, "a", 5 * MIB) == noise(8 * MIB)[5 * MIB :]


def test_a_far_end_that_falls_silent_is_transient(far, line, monkeypatch):
    far.put([item("a", noise(8 * MIB))], still)
    pieces = far.read("a")
    next(pieces)
    line.flowing.clear()
    monkeypatch.setattr("trainer.stores.ssh.PATIENCE", 0.5)
    for act in (lambda: list(pieces), lambda: far.put([item("b", noise(64 * MIB))], still)):
        with pytest.raises(StoreError, match="says nothing any more") as silent:
            act()
        assert silent.value.transient
    line.flowing.set()


def test_a_reader_that_stops_early_leaves_no_process(far):
    far.put([item("a", noise(8 * MIB))], still)
    pieces = far.read("a")
    next(pieces)
    pieces.close()
    assert far.list() == {"a": 8 * MIB}


def test_a_partial_with_wrong_bytes_is_not_built_upon(far, tmp_path):
    content = noise(MIB + 1000)
    partial = tmp_path / "far" / partial_of("a", hashlib.sha256(content).hexdigest())
    partial.parent.mkdir()
    for torn in (b"\0" * MIB, b"\0" * (MIB + 1000), b"\0" * (2 * MIB)):
        partial.write_bytes(torn)
        far.put([item("a", content)], still)
        assert whole(far, "a") == content and not partials(tmp_path)
        far.delete(["a"])


def test_a_port_where_nobody_listens_is_transient(sshd, tmp_path, monkeypatch):
    monkeypatch.setenv("STOKER_SSH_OPTIONS", sshd.options())
    store = Ssh(sshd.url(tmp_path, 1))
    with pytest.raises(StoreError, match="Connection refused") as refused:
        store.list()
    assert refused.value.transient
    store.close()


def test_a_key_that_may_not_log_in_is_refused_for_good(sshd, tmp_path, monkeypatch):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    options = sshd.options().replace(f"{sshd.folder}/key", str(tmp_path / "other"), 1)
    monkeypatch.setenv("STOKER_SSH_OPTIONS", options)
    store = Ssh(sshd.url(tmp_path / "far"))
    with pytest.raises(StoreError, match="Permission denied") as refused:
        store.put([item("a", b"1")], still)
    assert not refused.value.transient
    store.close()


def test_a_host_whose_key_changed_is_refused_for_good(sshd, tmp_path, monkeypatch):
    other = (sshd.folder / "key.pub").read_text().split()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{sshd.port} {other[0]} {other[1]}\n")
    monkeypatch.setenv("STOKER_SSH_OPTIONS", f"-oUserKnownHostsFile={tmp_path}/known {sshd.options()}")
    store = Ssh(sshd.url(tmp_path / "far"))
    with pytest.raises(StoreError, match=r"CHANGED|verification failed") as refused:
        store.list()
    assert not refused.value.transient
    store.close()


def test_a_full_far_end_is_said_and_keeps_the_old_file(sshd, line, tmp_path):
    with mounted(tmp_path / "small", "size=2m") as small:
        store = Ssh(sshd.url(small / "run", line.port))
        store.put([item("a", b"old")], still)
        with pytest.raises(StoreError, match="No space left") as full:
            store.put([item("a", noise(4 * MIB))], still)
        assert not full.value.transient and "make room" in full.value.next_step
        assert whole(store, "a") == b"old" and store.list() == {"a": 3}
        store.close()


def test_what_a_login_prints_does_not_reach_the_content(sshd, tmp_path, monkeypatch):
    run = ssh_line.Line._run

    def loud(self, script, stdin, options):
        return run(self, f"echo Welcome to your GPU; echo 7; {script}", stdin, options)

    monkeypatch.setattr(ssh_line.Line, "_run", loud)
    monkeypatch.setenv("STOKER_SSH_OPTIONS", sshd.options())
    store = Ssh(sshd.url(tmp_path / "far"))
    store.put([item("a", b"content")], still)
    assert store.list() == {"a": 7} and whole(store, "a") == b"content"
    store.close()


def test_without_a_short_folder_for_the_socket_every_command_connects_itself(sshd, line, tmp_path, monkeypatch):
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    store = Ssh(sshd.url(tmp_path / "far", line.port))
    store.put([item("a", b"1")], still)
    assert store.list() == {"a": 1} and line.connections == 2 and not any(deep.iterdir())
    store.close()


def test_one_connection_carries_all_commands_and_close_removes_its_socket(sshd, line, tmp_path, monkeypatch):
    (tmp_path / "t").mkdir()
    monkeypatch.setattr("tempfile.tempdir", "/tmp" if len(str(tmp_path)) > 60 else str(tmp_path / "t"))
    store = Ssh(sshd.url(tmp_path / "far", line.port))
    store.put([item(name, noise(1000)) for name in "abcdefgh"], still)
    assert line.connections == 1
    folder = store._line._folder
    stale = Path(folder).parent / f"stoker-ssh-{2**22 + 1}-killed"  # more than Linux counts processes
    stale.mkdir()
    other = Ssh(store.url)
    assert len(other.list()) == 8 and not stale.exists() and Path(folder).exists()
    other.close()
    store.close()
    assert folder is not None and not Path(folder).exists()


@pytest.mark.parametrize(
    ("code", "said", "transient"),
    [
        (255, b"ssh: connect to host h port 22: Connection timed out", True),
        (255, b"kex_exchange_identification: Connection closed by remote host", True),
        (255, b"ssh: Could not resolve hostname h: Temporary failure in name resolution", True),
        (255, b"me@h: Permission denied (publickey).", False),
        (1, b"dd: error writing 'x': No space left on device\n0+1 records in\n0+0 records out\n", False),
        (1, b"dd: writing 'x': Disk quota exceeded", False),
        (1, b"mkdir: can't create directory '/a': Read-only file system", False),
        (2, b"sh: 1: cannot create /a/x: Permission denied", False),
        (127, b"sh: 1: dd: not found", False),
        (1, b"mv: cannot stat 'x': Stale file handle", True),
        (137, b"", True),
    ],
)
def test_what_is_said_decides_whether_to_try_again(code, said, transient):
    assert refusal(code, said, "writing a").transient is transient
