"""The simulated Hub, its storage: held against the official client alone."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainer.stores.hub_place import REPOSITORY, served

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def server(tmp_path, monkeypatch):
    with served(tmp_path, monkeypatch) as running:
        yield running


@pytest.fixture
def api(server):
    from huggingface_hub import HfApi

    return HfApi(endpoint=server.url, token=server.token)


def test_large_files_go_in_parts_and_are_not_sent_twice(server, api):
    server.part_bytes = 100_000
    data = random.Random(3).randbytes(450_000)
    api.create_repo(REPOSITORY)
    api.upload_file(path_or_fileobj=data, path_in_repo="a.bin", repo_id=REPOSITORY)
    assert server.faults.count("PUT /parts") == 5 and server.faults.received("PUT /parts") == 450_000
    api.upload_file(path_or_fileobj=data, path_in_repo="b.bin", repo_id=REPOSITORY)
    assert server.faults.count("PUT /parts") == 5
    assert Path(api.hf_hub_download(REPOSITORY, "b.bin")).read_bytes() == data
    assert server.faults.sent("GET /lfs") == 450_000


def test_deleted_files_keep_their_space_until_it_is_freed(server, api):
    api.create_repo(REPOSITORY)
    for name in ("a.bin", "b.bin"):
        api.upload_file(path_or_fileobj=name.encode() * 100_000, path_in_repo=name, repo_id=REPOSITORY)
    api.delete_file("a.bin", REPOSITORY)
    server.repository(REPOSITORY).collect_garbage()
    assert api.repo_info(REPOSITORY, expand=["usedStorage"]).used_storage == 1_000_000
    assert server.repository(REPOSITORY).used() == 1_000_000
    entries = {entry.filename: entry for entry in api.list_lfs_files(REPOSITORY)}
    before = [commit.commit_id for commit in api.list_repo_commits(REPOSITORY)]
    api.permanently_delete_lfs_files(REPOSITORY, [entries["a.bin"]], rewrite_history=False)
    assert server.repository(REPOSITORY).used() == 500_000
    assert [commit.commit_id for commit in api.list_repo_commits(REPOSITORY)] == before
    with pytest.raises(OSError, match="404"):  # an old commit still names what is gone
        api.hf_hub_download(REPOSITORY, "a.bin", revision=before[1])


def test_freeing_with_a_rewritten_history_changes_commits_and_keeps_their_other_files(server, api):
    api.create_repo(REPOSITORY)
    for name in ("a.bin", "b.bin"):
        api.upload_file(path_or_fileobj=name.encode() * 100_000, path_in_repo=name, repo_id=REPOSITORY)
    before = [commit.commit_id for commit in api.list_repo_commits(REPOSITORY)]
    entries = [entry for entry in api.list_lfs_files(REPOSITORY) if entry.filename == "a.bin"]
    api.permanently_delete_lfs_files(REPOSITORY, entries)
    after = [commit.commit_id for commit in api.list_repo_commits(REPOSITORY)]
    assert len(after) == len(before) == 3 and after[2] == before[2] and not {*after[:2]} & {*before}
    assert api.list_repo_files(REPOSITORY) == [".gitattributes", "b.bin"]


def test_a_squashed_history_frees_space_at_the_next_collection(server, api):
    api.create_repo(REPOSITORY)
    for n in range(3):
        api.upload_file(path_or_fileobj=b"%d" % n * 100_000, path_in_repo="a.bin", repo_id=REPOSITORY)
    api.super_squash_history(REPOSITORY, commit_message="one")
    assert [commit.title for commit in api.list_repo_commits(REPOSITORY)] == ["one"]
    assert server.repository(REPOSITORY).used() == 300_000
    server.repository(REPOSITORY).collect_garbage()
    assert server.repository(REPOSITORY).used() == 100_000


def test_faults_come_as_often_as_planned(server, api, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    api.create_repo(REPOSITORY)
    server.faults.answer("PUT /lfs", 503, times=2)
    server.faults.cut("PUT /lfs", after=50_000)
    data = random.Random(4).randbytes(200_000)
    api.upload_file(path_or_fileobj=data, path_in_repo="a.bin", repo_id=REPOSITORY)
    assert server.faults.count("PUT /lfs") == 3 and server.faults.matching("PUT /lfs")[-1].status == 200
    server.faults.cut("GET /lfs", after=120_000)
    assert Path(api.hf_hub_download(REPOSITORY, "a.bin")).read_bytes() == data
    assert server.faults.count("GET /lfs") == 2
    server.faults.lose()
    with pytest.raises(OSError, match="404"):
        try:
            api.upload_file(path_or_fileobj=data[::-1], path_in_repo="b.bin", repo_id=REPOSITORY)
        except RuntimeError as wrapped:
            raise wrapped.__cause__ from None
    server.faults.quota = 300_000
    with pytest.raises(OSError, match="storage limit reached"):
        api.upload_file(path_or_fileobj=data[::-1], path_in_repo="b.bin", repo_id=REPOSITORY)


@pytest.mark.slow
def test_it_runs_as_a_process_of_its_own(tmp_path, monkeypatch):
    command = [
        sys.executable,
        "-m",
        "tests.sim.hub",
        "--port",
        "0",
        "--folder",
        str(tmp_path / "hub"),
        "--token",
        "hf_t",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            from huggingface_hub import HfApi

            api = HfApi(endpoint=process.stdout.readline().strip(), token="hf_t")
            api.create_repo(REPOSITORY, private=True)
            api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=REPOSITORY)
            assert "a" in api.list_repo_files(REPOSITORY)
        finally:
            process.terminate()
