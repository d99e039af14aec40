"""Uploads to the Hub that are cut, killed, lost or made twice."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.trainer.stores.hub_place import REPOSITORY, STEP, weights
from tests.trainer.stores.specification import item, noise, still, whole
from trainer.stores.store import StoreError

ROOT = Path(__file__).resolve().parents[3]


def test_sending_the_same_again_sends_nothing_and_commits_nothing(store, server, api):
    items = [weights(), item("run/config.json", b"{}")]
    store.put(items, still)
    commits = len(api.list_repo_commits(REPOSITORY))
    server.faults.forget()
    store.put(items, still)
    assert server.faults.count("PUT /") == 0 and server.faults.count("POST .*/commit/") == 0
    assert len(api.list_repo_commits(REPOSITORY)) == commits


def test_a_put_that_was_cut_off_sends_only_what_is_missing(store, server, monkeypatch):
    items = [weights(n, f"{STEP}/weights-{n}.safetensors") for n in range(4)]
    last = hashlib.sha256(items[3].source).hexdigest()
    server.faults.cut(f"PUT .*{last}", after=100_000, times=6)  # outlasts the library's own tries
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(StoreError) as cut:
        store.put(items, still)
    assert cut.value.transient and STEP not in "".join(store.list())
    server.faults.clear(), server.faults.forget()
    store.put(items, still)
    assert server.faults.received("PUT /lfs") == 200_000
    assert len(store.list(STEP)) == 4


def test_one_cut_is_mended_inside_the_put(store, server, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.faults.cut("PUT /lfs", after=150_000)
    counted = []
    store.put([weights()], counted.append)
    assert whole(store, f"{STEP}/weights.safetensors") == noise(200_000)
    assert sum(counted) > 300_000  # what went over the line, twice


def test_a_part_that_failed_is_sent_again_without_the_others(store, server, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.part_bytes = 50_000
    server.faults.answer("PUT /parts/.*/3", 500)
    store.put([weights()], still)
    assert server.faults.count("PUT /parts") == 5
    assert whole(store, f"{STEP}/weights.safetensors") == noise(200_000)


def test_an_upload_the_storage_lost_is_noticed_and_sent_again(store, server):
    server.faults.lose()
    with pytest.raises(StoreError) as lost:
        store.put([weights()], still)
    assert lost.value.transient and store.list() == {}
    store.put([weights()], still)
    assert whole(store, f"{STEP}/weights.safetensors") == noise(200_000)


def test_an_upload_that_even_the_hub_believes_in_is_noticed(store, server):
    store.put([item("run/config.json", b"{}")], still)
    server.faults.lose(noticed=False)
    with pytest.raises(StoreError, match="storage does not have it") as lost:
        store.put([weights()], still)
    assert lost.value.transient


def test_bytes_are_told_before_they_go_so_that_the_caller_can_hold_them_back(store, server):
    store.put([item("run/config.json", b"{}")], still)
    told, ahead = [0], []

    def moved(count: int) -> None:
        ahead.append(server.faults.received("PUT /lfs") - sum(told))
        told.append(count)

    store.put([weights(size=3_000_000)], moved)
    assert sum(told) == 3_000_000 and max(told) <= 1 << 16
    assert max(ahead) <= 0  # nothing has arrived that was not told


def test_what_the_repository_ignores_is_told(store, api):
    store.put([item("run/config.json", b"{}")], still)
    api.upload_file(path_or_fileobj=b"*.safetensors\n", path_in_repo=".gitignore", repo_id=REPOSITORY)
    with pytest.raises(StoreError, match=r"\.gitignore keeps") as ignored:
        store.put([weights()], still)
    assert not ignored.value.transient


@pytest.mark.slow
def test_a_process_that_was_killed_in_mid_put_sends_only_the_rest_again(server, store, tmp_path):
    files = [weights(n, f"{STEP}/weights-{n}.safetensors", 1_000_000) for n in range(5)]
    for n, file in enumerate(files):
        (tmp_path / f"{n}").write_bytes(file.source)
    program = f"""
from pathlib import Path
from trainer.stores.hub import Hub
from trainer.stores.store import Item
items = [Item("{STEP}/weights-%d.safetensors" % n, Path("{tmp_path}") / str(n), 1000000) for n in range(5)]
Hub("hf://{REPOSITORY}").put(items, lambda count: None)
"""
    env = {**os.environ, **server.variables(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    server.faults.seconds_per_byte = 1e-6  # a second for a file, four at a time
    process = subprocess.Popen([sys.executable, "-c", program], env=env)
    while not server.repositories.all or len(server.repository(REPOSITORY).stored) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill(), process.wait()
    there = set(server.repository(REPOSITORY).stored)
    server.faults.clear(), server.faults.forget()
    store.put(files, still)
    assert server.faults.received("PUT /lfs") <= (5 - len(there)) * 1_000_000 < 5_000_000
    assert len(store.list(STEP)) == 5
