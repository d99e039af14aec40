"""The cache of fetched shards: bounded, shared by the ranks of a host, and what is in use stays."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading

import pytest

from trainer.data.index import Shard
from trainer.errors import TrainerError

pytest.importorskip("numpy")

from trainer.data import cache as caches
from trainer.data.cache import Cache
from trainer.data.lock import Lock
from trainer.data.verify import Stamps


def shard(number, size=100):
    """A shard and its content."""
    content = bytes([number]) * size
    return Shard(f"train-{number:05d}.bin", size // 2 - 1, size, hashlib.sha256(content).hexdigest())


@pytest.fixture
def cache(tmp_path):
    """A cache with room for three shards, which notes what it fetched."""

    class Noting(Cache):
        fetched: list[int]

        def get(self, number):
            def fetch(into):
                assert into.stat().st_size == 100
                self.fetched.append(number)
                into.write_bytes(bytes([number]) * 100)

            held = self.hold(shard(number), fetch)
            assert held.path.read_bytes() == bytes([number]) * 100
            return held

        def there(self):
            return {path.stem for path in self.folder.glob("*.bin")}

    cache = Noting(tmp_path, 300, Stamps(tmp_path))
    cache.fetched = []
    return cache


def names(*numbers):
    """The hashes that stand for these shards in the cache."""
    return {shard(number).sha256 for number in numbers}


def test_a_shard_is_fetched_once(cache):
    for _ in range(3):
        cache.get(1).release()
    assert cache.fetched == [1] and cache.there() == names(1)


def test_the_least_recently_used_goes_first(cache):
    for number in (1, 2, 3, 1):
        held = cache.get(number)
        os.utime(held.lock.path, (1000 + len(cache.fetched), 1000 + len(cache.fetched) + (number == 1)))
        held.release()
    cache.get(4).release()
    assert cache.there() == names(1, 3, 4)
    assert sum(path.stat().st_size for path in cache.folder.glob("*.bin")) <= 300


def test_what_is_in_use_is_never_removed_and_a_full_cache_waits_for_room(cache):
    held = {number: cache.get(number) for number in (1, 2, 3)}
    waiting = threading.Thread(target=lambda: cache.get(4).release(), daemon=True)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive() and cache.there() == names(1, 2, 3) and 4 not in cache.fetched
    held[2].release()
    waiting.join(10)
    assert not waiting.is_alive() and cache.there() == names(1, 3, 4)


def test_a_cache_that_stays_full_says_which_knob_to_turn(cache, monkeypatch):
    monkeypatch.setattr(caches, "PATIENCE", 0.2)
    held = [cache.get(number) for number in (1, 2, 3)]
    with pytest.raises(TrainerError, match=r"no room for train-00004\.bin") as caught:
        cache.get(4)
    assert "data.cache_gb" in caught.value.next_step and caught.value.exit_code == 3
    assert len(held) == 3


def test_a_failed_fetch_leaves_nothing_and_the_next_try_works(cache):
    def fail(into):
        into.write_bytes(b"half")
        raise TrainerError("the server is gone", "", 3)

    with pytest.raises(TrainerError, match="the server is gone"):
        cache.hold(shard(1), fail)
    assert not list(cache.folder.glob("*.part")) and not cache.there()
    cache.get(1).release()


def test_partial_files_of_the_dead_are_removed_and_those_of_the_living_are_not(cache):
    for number in (1, 2):
        (cache.folder / f"{shard(number).sha256}.part").write_bytes(b"half")
    living = Lock(cache.folder / f"{shard(2).sha256}.lock")
    living.take(shared=False)
    Cache(cache.folder, 300, cache.stamps)
    assert {path.stem for path in cache.folder.glob("*.part")} == names(2)


def test_a_cached_shard_that_was_altered_or_truncated_is_fetched_again(cache):
    cache.get(1).release()
    path = cache.folder / f"{shard(1).sha256}.bin"
    for content in (b"\x01" * 99 + b"\x02", b"\x01" * 50):
        path.write_bytes(content)
        cache.get(1).release()
    assert cache.fetched == [1, 1, 1]


def test_a_cache_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainerError, match=r"cannot use .* as shard cache") as caught:
        Cache(tmp_path / "file", 300, Stamps(None))
    assert "data.cache" in caught.value.next_step


RANK = """
import sys, time
from pathlib import Path
from trainer.data.cache import Cache
from trainer.data.index import Shard
from trainer.data.verify import Stamps
folder = Path(sys.argv[1])
limit = int(sys.argv[2])
cache = Cache(folder / "cache", limit, Stamps(folder / "cache"))
for number, sha256 in enumerate(sys.argv[3:]):
    def fetch(into):
        with open(folder / "fetched", "a") as log:
            log.write(f"{number}\\n")
        time.sleep(0.02)
        into.write_bytes(bytes([number]) * 100)
    held = cache.hold(Shard("x", 49, 100, sha256), fetch)
    assert held.path.read_bytes() == bytes([number]) * 100
    assert sum(path.stat().st_size for path in (folder / "cache").glob("*.bin")) <= limit
    held.release()
"""


@pytest.mark.parametrize(("limit", "times"), [(800, 1), (300, 3)])
def test_the_ranks_of_a_host_share_what_one_of_them_fetched(tmp_path, environment, limit, times):
    """With room for all, each shard is fetched once; with less, a rank that lags may fetch again what was removed."""
    hashes = [shard(number).sha256 for number in range(8)]
    command = [sys.executable, "-c", RANK, str(tmp_path), str(limit), *hashes]
    ranks = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [rank.wait(60) for rank in ranks] == [0, 0, 0]
    fetched = (tmp_path / "fetched").read_text().split()
    assert set(fetched) == {str(number) for number in range(8)}
    assert all(fetched.count(number) <= times for number in fetched)
    assert not list((tmp_path / "cache").glob("*.part"))
