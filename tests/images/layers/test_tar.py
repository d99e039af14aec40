"""The deterministic tar writer, read back by Python's tarfile and by GNU tar."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from images.layers import tar
from images.layers.tar import Entry
from profiles.errors import CheckFailed, WrongInput


def data_entry(path: str, data: bytes = b"", mode: int = 0o644) -> Entry:
    return Entry(path, "file", mode, len(data), lambda: io.BytesIO(data), sha256=hashlib.sha256(data).hexdigest())


def archive(*entries: Entry) -> bytes:
    return b"".join(tar.stream(tar.arranged(entries)))


def test_known_bytes() -> None:
    """The diff_id of every image hangs on this: a change here must change tar.FORMAT."""
    raw = archive(data_entry("opt/stoker/a.txt", b"hello\n"), Entry("opt/stoker/b", "symlink", link="a.txt"))
    assert tar.FORMAT == "ustar-1"
    assert hashlib.sha256(raw).hexdigest() == "502a5056d446b31f01229f0b872f35c11f2b02d509f9d689225750a73e81c5f0"


def test_every_attribute_is_fixed_but_the_executable_bit() -> None:
    entries = data_entry("opt/stoker/run", b"x", 0o4777), data_entry("opt/stoker/text", b"y", 0o666)
    with tarfile.open(fileobj=io.BytesIO(archive(*entries))) as found:
        members = {member.name: member for member in found}
    assert {name: member.mode for name, member in members.items()} == {
        "opt/stoker": 0o755,
        "opt/stoker/run": 0o755,
        "opt/stoker/text": 0o644,
    }
    for member in members.values():
        assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 1)
        assert member.pax_headers == {}


def test_entries_come_sorted_by_their_bytes_whatever_the_order_given() -> None:
    names = ["opt/stoker/b", "opt/stoker/B", "opt/stoker/a-b", "opt/stoker/a/c", "opt/stoker/é", "opt/stoker/z"]
    one, other = archive(*map(data_entry, names)), archive(*map(data_entry, reversed(names)))
    assert one == other
    with tarfile.open(fileobj=io.BytesIO(one)) as found:
        listed = [name.encode() for name in found.getnames()]
    assert listed == sorted(listed)


def test_parents_are_written_below_our_prefix_only() -> None:
    """A folder entry replaces the base folder's owner and mode, so /opt and /usr must not be named."""
    entries = tar.arranged([data_entry("opt/stoker/app/x/y.py"), data_entry("usr/local/lib/python3.12/a.pth")])
    assert [entry.path for entry in entries if entry.kind == "dir"] == [
        "opt/stoker",
        "opt/stoker/app",
        "opt/stoker/app/x",
    ]


def test_two_entries_of_one_path_are_refused() -> None:
    with pytest.raises(WrongInput, match="two entries"):
        tar.arranged([data_entry("opt/stoker/a"), data_entry("opt/stoker/a")])


def test_a_file_cannot_be_a_folder_too() -> None:
    with pytest.raises(WrongInput, match="is a file and a folder"):
        tar.arranged([data_entry("opt/stoker/a"), data_entry("opt/stoker/a/b")])
    with pytest.raises(WrongInput, match="is a symlink and a folder"):
        tar.arranged([Entry("usr/x", "symlink", link="y"), data_entry("usr/x/b")])


@pytest.mark.parametrize("path", ["workspace/x", "/abs", "opt/../x", "opt/.wh.x", "bin/x"])
def test_forbidden_paths_are_refused(path: str) -> None:
    with pytest.raises(WrongInput):
        tar.arranged([data_entry(path)])


@pytest.mark.parametrize("now", [b"longer than it was", b"cut", b"other"])
def test_a_file_that_changed_since_the_plan_is_named(now: bytes) -> None:
    planned = data_entry("opt/stoker/a", b"words")
    entry = Entry(planned.path, "file", 0o644, 5, lambda: io.BytesIO(now), sha256=planned.sha256, source="trainer/a")
    with pytest.raises(CheckFailed, match="changed while it was read: trainer/a") as caught:
        archive(entry)
    assert "again" in caught.value.next_step


def test_names_at_the_edges_of_ustar() -> None:
    """100 bytes of name, 155 of prefix; beyond that, or beyond ASCII, PAX."""
    plain = ["n" * 100, "p" * 155 + "/" + "n" * 100, "d/" * 60 + "f"]
    pax = ["n" * 101, "p" * 156 + "/" + "n" * 100, "p" * 100 + "/" + "n" * 101, "ü", "opt/stoker/" + "d/" * 200 + "f"]
    for path in plain + pax:
        raw = b"".join(tar.stream([data_entry(path, b"1")]))
        assert (b"PaxHeader" in raw) == (path in pax), path
        with tarfile.open(fileobj=io.BytesIO(raw)) as found:
            assert found.getnames() == [path]


def test_a_file_of_eight_gibibytes_gets_a_pax_size() -> None:
    raw = tar.header(Entry("opt/stoker/big", "file", size=8**11))
    with tarfile.open(fileobj=io.BytesIO(raw + bytes(1024))) as found:
        first = found.next()
    assert first is not None and first.size == 8**11


@pytest.mark.parametrize("value", ["x" * n for n in (1, 90, 91, 92, 93, 985, 986, 987, 988)])
def test_a_pax_record_counts_its_own_length(value: str) -> None:
    raw = tar.record("path", value)
    assert int(raw.split(b" ")[0]) == len(raw)


def test_length_is_known_before_anything_is_read() -> None:
    entries = tar.arranged([data_entry(f"opt/stoker/{'é' * n}x", bytes(n * 100)) for n in range(60)])
    assert tar.length(entries) == sum(map(len, tar.stream(entries)))


part = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/\\"), min_size=1, max_size=80
).filter(lambda text: text not in (".", "..") and not text.startswith(".wh.") and len(text.encode()) < 256)
paths = st.lists(part, min_size=1, max_size=6).map(lambda parts: "opt/stoker/" + "/".join(parts))
contents = st.tuples(st.binary(max_size=2000), st.booleans())


def prefix_free(files: dict[str, object]) -> bool:
    return not any(parent in files for path in files for parent in tar.parents(path))


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(paths, contents, max_size=6).filter(prefix_free))
def test_python_reads_back_what_was_written(files: dict[str, tuple[bytes, bool]]) -> None:
    raw = archive(*(data_entry(path, data, 0o755 if runs else 0o644) for path, (data, runs) in files.items()))
    assert len(raw) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(raw)) as found:
        read = {m.name: (found.extractfile(m).read(), m.mode == 0o755) for m in found if m.isfile()}  # type: ignore[union-attr]
    assert read == files


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(paths, contents, max_size=4).filter(prefix_free), st.text(st.sampled_from("abü/."), min_size=1))
def test_gnu_tar_unpacks_what_was_written(files: dict[str, tuple[bytes, bool]], link: str) -> None:
    import tempfile

    entries = [data_entry(path, data) for path, (data, _) in files.items()]
    if not link.startswith("/") and ".." not in link and "//" not in link:
        entries.append(Entry("opt/stoker.link", "symlink", link=link * 40))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["tar", "-x", "-C", folder], input=archive(*entries), check=True)
        for path, (data, _) in files.items():
            assert Path(os.fsdecode(f"{folder}/{path}".encode())).read_bytes() == data
        for entry in entries[len(files) :]:
            assert subprocess.check_output(["readlink", "-n", f"{folder}/{entry.path}"]) == entry.link.encode()
