"""The Hub as a store, against the simulated Hub through the real huggingface_hub."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.trainer.stores.hub_place import REPOSITORY, STEP, weights
from tests.trainer.stores.specification import EVERY, Place, item, noise, still, whole
from trainer.stores.hub import Hub
from trainer.stores.open import open_store
from trainer.stores.store import Missing, StoreError

PART = 1 << 20


@pytest.mark.parametrize("says", EVERY, ids=lambda says: says.__name__)
def test_as_every_store(says, server):
    server.part_bytes = PART
    says(Place(lambda: open_store(f"hf://{REPOSITORY}/my/run"), 3 * PART - 5000))


@pytest.mark.parametrize("says", EVERY[1:4], ids=lambda says: says.__name__)
def test_as_every_store_in_a_dataset_on_a_branch(says, server):
    says(Place(lambda: Hub(f"hf://datasets/{REPOSITORY}@night"), 3 * PART))
    assert set(server.repository(REPOSITORY, "dataset").branches) == {"main", "night"}
    assert not any(path.startswith("run/") for path in server.repository(REPOSITORY, "dataset").find("main").tree)


def test_the_first_put_creates_a_private_repository_and_later_ones_leave_it_alone(server, store, caplog):
    assert store.list() == {} and not server.repositories.all
    store.put([weights()], still)
    assert server.repository(REPOSITORY).private
    server.faults.forget()
    store.put([weights(1)], still)
    other = Hub(f"hf://{REPOSITORY}")
    other.put([weights(2)], still)
    other.close()
    assert server.faults.count("repos/create|settings") == 0 and not caplog.records


def test_a_public_repository_is_created_only_when_asked_for(server, store, monkeypatch, caplog):
    monkeypatch.setenv("HF_PRIVATE", "false")
    store.put([weights()], still)
    assert not server.repository(REPOSITORY).private and not caplog.records


def test_a_public_repository_that_is_there_is_told_once_and_left_as_it_is(server, api, caplog):
    api.create_repo("tester/open", private=False)
    with caplog.at_level(logging.WARNING):
        for seed in range(3):
            store = Hub("hf://tester/open")
            store.put([weights(seed)], still)
            store.close()
    assert [record.message.count("PUBLIC") for record in caplog.records] == [1]
    assert not server.repository("tester/open").private and server.faults.count("settings") == 0


def test_a_repository_that_was_taken_away_is_not_made_again(server, store, api):
    store.put([weights()], still)
    api.delete_repo(REPOSITORY)
    with pytest.raises(Missing):
        store.put([weights(1)], still)
    assert not server.repositories.all and store.list() == {}


def test_data_is_one_commit_and_the_manifest_alone_the_next(store, api):
    store.put([weights(n, f"{STEP}/weights-{n}.safetensors", 50_000) for n in range(7)], still)
    store.put([item(f"{STEP}/manifest.json", b"{}")], still)
    titles = [commit.title for commit in api.list_repo_commits(REPOSITORY)]
    assert titles == [
        f"Add {STEP}/manifest.json",
        f"Add {STEP}/weights-0.safetensors and 6 more",
        "initial commit",
    ]


def test_many_files_are_as_many_commits_as_the_hub_advises(store, api, server):
    store.put([item(f"run/{n}.json", b"%d" % n) for n in range(230)], still)
    assert len(api.list_repo_commits(REPOSITORY)) == 1 + 3 and len(store.list()) == 230
    server.page = 50
    assert len(store.list()) == 230  # the listing comes in pages


def test_the_official_client_downloads_what_was_put(store, server, tmp_path):
    from huggingface_hub import snapshot_download

    store.put([weights(), item("run/config.json", b'{"a": 1}')], still)
    folder = snapshot_download(REPOSITORY, local_dir=tmp_path / "down", token=server.token, endpoint=server.url)
    assert (Path(folder) / STEP / "weights.safetensors").read_bytes() == noise(200_000)
    assert (Path(folder) / "run/config.json").read_bytes() == b'{"a": 1}'


def test_the_token_is_not_shown_to_the_storage(store, server):
    store.put([weights()], still)
    whole(store, f"{STEP}/weights.safetensors", 1000)
    storage = server.faults.matching("(GET|PUT|HEAD) /lfs/")
    assert len(storage) >= 3 and not any("authorization" in call.headers for call in storage)
    asked = server.faults.matching("/resolve/")
    assert asked and all(call.headers["authorization"] == f"Bearer {server.token}" for call in asked)


@pytest.mark.parametrize("name", [f"{STEP}/weights.safetensors", "run/log.txt"])
def test_a_read_that_was_cut_goes_on_where_it_stopped(store, server, name):
    content = noise(200_000) if name.endswith("safetensors") else b"line\n" * 40_000
    store.put([item(name, content)], still)
    server.faults.cut("GET (/lfs/|/api/resolve-cache)", after=120_000)
    got = b""
    with pytest.raises(StoreError) as cut:
        for piece in store.read(name):
            got += piece
    assert cut.value.transient and content.startswith(got) and len(got) > 50_000
    server.faults.forget()
    assert got + whole(store, name, len(got)) == content
    assert server.faults.sent() == len(content) - len(got)


@pytest.mark.slow
def test_a_line_that_falls_silent_is_cut(server, monkeypatch):
    store = Hub(f"hf://{REPOSITORY}", quiet_seconds=0.3)
    store.put([weights()], still)
    server.faults.stall("GET /lfs/", 30)
    with pytest.raises(StoreError) as silent:
        whole(store, f"{STEP}/weights.safetensors")
    assert silent.value.transient and "Timeout" in silent.value.what
    server.faults.stall("POST .*/commit/", 30)
    with pytest.raises(StoreError) as silent:
        store.put([weights(1)], still)
    assert silent.value.transient
    server.faults.stall("PUT /lfs", 30, times=6)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between the library's six tries
    with pytest.raises(StoreError) as silent:
        store.put([weights(2)], still)
    assert silent.value.transient and "Timeout" in silent.value.what
    store.close()
