"""What every store does, as functions of a place: `for says in EVERY: says(place)` on a real server each.

A place is empty at the start; `place.open()` gives a new Store on it, `place.big` is the size of a file that goes in
three parts there.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from trainer.stores.store import Item, Missing, Store, StoreError


@dataclass(frozen=True)
class Place:
    open: Callable[[], Store]
    big: int


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not repeat."""
    return random.Random(seed).randbytes(size)


def item(name: str, content: bytes, hashed: bool = True) -> Item:
    return Item(name, content, len(content), hashlib.sha256(content).hexdigest() if hashed else None)


def still(size: int) -> None:
    """For who does not ask."""


def whole(store: Store, name: str, begin: int = 0) -> bytes:
    pieces = list(store.read(name, begin))
    assert all(0 < len(piece) <= 4 << 20 for piece in pieces)
    return b"".join(pieces)


def nothing_is_listed_where_nothing_was_put(place: Place) -> None:
    store = place.open()
    assert store.list() == {} and store.list("checkpoints/step-00000001/") == {}
    store.close()


def files_come_back_as_they_were_sent(place: Place) -> None:
    store, counted = place.open(), []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "source").write_bytes(noise(300_000))
        from_disk = Item("checkpoints/step-00000050/weights", Path(folder) / "source", 300_000)
        store.put([item("run/config.json", b"{}"), from_disk, item("top", b"x", hashed=False)], counted.append)
    there = place.open()
    assert there.list() == {"run/config.json": 2, "checkpoints/step-00000050/weights": 300_000, "top": 1}
    assert whole(there, "checkpoints/step-00000050/weights") == noise(300_000)
    assert whole(there, "run/config.json") == b"{}" and whole(there, "top") == b"x"
    assert sum(counted) >= 300_000 and min(counted) >= 0
    store.close(), there.close()


def a_prefix_is_a_string_and_no_folder(place: Place) -> None:
    store = place.open()
    store.put([item(name, b"1") for name in ("step-1/a", "step-1/b", "step-10/a", "run")], still)
    assert store.list("step-1") == {"step-1/a": 1, "step-1/b": 1, "step-10/a": 1}
    assert store.list("step-1/") == {"step-1/a": 1, "step-1/b": 1}
    assert store.list("step-1/a") == {"step-1/a": 1} and store.list("nothing/") == {} and store.list("run/") == {}
    store.close()


def a_file_is_read_from_any_byte_on(place: Place) -> None:
    store, content = place.open(), noise(200_000)
    store.put([item("a", content)], still)
    for begin in (1, 65_536, 199_999):
        assert whole(store, "a", begin) == content[begin:]
    assert whole(store, "a", 200_000) == b""
    store.close()


def what_is_not_there_is_missing(place: Place) -> None:
    store = place.open()
    store.put([item("folder/a", b"1")], still)
    for name in ("b", "folder/b", "folder", "other/a"):
        with pytest.raises(Missing):
            whole(store, name)
    store.close()


def an_empty_file_is_a_file(place: Place) -> None:
    store = place.open()
    store.put([item("empty", b""), item("full", b"1")], still)
    assert store.list() == {"empty": 0, "full": 1} and whole(store, "empty") == b""
    store.close()


def names_may_hold_spaces_quotes_and_any_letter(place: Place) -> None:
    store = place.open()
    names = [
        "a b/c  d",
        "größe/重み-ω.bin",
        'it\'s "so" $HOME `x` & (1); * [a]',
        "-n",
        "%41+b#c",
        ".hidden/.file",
        "a~",
    ]
    store.put([item(name, name.encode()) for name in names], still)
    assert store.list() == {name: len(name.encode()) for name in names}
    for name in names:
        assert whole(store, name) == name.encode()
    assert store.list("größe/") == {"größe/重み-ω.bin": len("größe/重み-ω.bin".encode())}
    store.delete(names[:-1])
    assert store.list() == {names[-1]: 2}
    store.close()


def a_name_that_leaves_the_store_is_refused(place: Place) -> None:
    store = place.open()
    for name in ("../a", "/a", "a/../../b", "a//b", "", "a\nb"):
        for act in (lambda name=name: store.put([item(name, b"1")], still), lambda name=name: store.delete([name])):
            with pytest.raises(StoreError) as refused:
                act()
            assert not refused.value.transient
    store.close()


def a_second_put_replaces(place: Place) -> None:
    store = place.open()
    for content in (noise(5000, 1), noise(7000, 2), b"", noise(3000, 3)):
        store.put([item("a", content)], still)
        assert store.list() == {"a": len(content)} and whole(store, "a") == content
    store.close()


def deleting_takes_what_is_named_and_forgives_what_is_not_there(place: Place) -> None:
    store = place.open()
    store.put([item(f"step-1/{name}", b"1") for name in "abc"], still)
    store.delete(["step-1/a", "nothing", "step-1/c", "other/folder/x"])
    assert store.list() == {"step-1/b": 1}
    store.delete(["step-1/b"])
    store.delete(["step-1/b"])
    assert store.list() == {}
    store.close()


def a_large_file_goes_in_parts(place: Place) -> None:
    store, content, counted = place.open(), noise(place.big), []
    store.put([item("big", content)], counted.append)
    assert store.list() == {"big": place.big}
    assert whole(store, "big") == content and whole(store, "big", place.big - 1000) == content[-1000:]
    assert sum(counted) >= place.big and len(counted) >= 3
    other = noise(place.big - 12_345, 1)
    store.put([item("big", other)], still)
    assert whole(store, "big") == other
    store.close()


def a_reader_sees_the_old_or_the_new_content_and_no_mix(place: Place) -> None:
    writer, reader = place.open(), place.open()
    contents = [noise(150_000, seed) for seed in range(4)]
    writer.put([item("a", contents[0])], still)
    over, bad, seen = threading.Event(), [], set()

    def read() -> None:
        while not over.is_set():
            try:
                got = whole(reader, "a")
            except StoreError as error:
                got = repr(error).encode()
            seen.add(got)
            if got not in contents or reader.list().get("a") != 150_000:
                bad.append(got[:200])

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for content in contents[1:]:
            writer.put([item("a", content)], still)
    finally:
        over.set()
        thread.join()
    assert not bad and seen
    writer.close(), reader.close()


class Enough(Exception):
    """Raised by a caller who wants a transfer to end."""


def a_caller_may_end_a_transfer_and_make_it_again(place: Place) -> None:
    store, content = place.open(), noise(place.big, 5)
    count = 0

    def moved(size: int) -> None:
        nonlocal count
        count += size
        if count > place.big // 2:
            raise Enough

    with pytest.raises(Enough):
        store.put([item("big", content), item("small", b"1")], moved)
    assert "big" not in store.list()
    store.put([item("big", content), item("small", b"1")], still)
    assert store.list() == {"big": place.big, "small": 1} and whole(store, "big") == content
    store.close()


def a_damaged_source_is_not_sent(place: Place) -> None:
    store, content = place.open(), noise(100_000)
    wrong = Item("a", content[:-1] + b"?", len(content), hashlib.sha256(content).hexdigest())
    with tempfile.TemporaryDirectory() as folder:
        short = Path(folder) / "short"
        short.write_bytes(content[:-1])
        for bad in (wrong, Item("a", short, len(content)), Item("a", Path(folder) / "absent", 1)):
            with pytest.raises(StoreError) as refused:
                store.put([bad], still)
            assert not refused.value.transient
    assert store.list() == {}
    store.close()


EVERY = [
    nothing_is_listed_where_nothing_was_put,
    files_come_back_as_they_were_sent,
    a_prefix_is_a_string_and_no_folder,
    a_file_is_read_from_any_byte_on,
    what_is_not_there_is_missing,
    an_empty_file_is_a_file,
    names_may_hold_spaces_quotes_and_any_letter,
    a_name_that_leaves_the_store_is_refused,
    a_second_put_replaces,
    deleting_takes_what_is_named_and_forgives_what_is_not_there,
    a_large_file_goes_in_parts,
    a_reader_sees_the_old_or_the_new_content_and_no_mix,
    a_caller_may_end_a_transfer_and_make_it_again,
    a_damaged_source_is_not_sent,
]
