"""The simulated Hub, held against the official client alone: what it stands in for is what huggingface_hub expects."""

from __future__ import annotations

import random
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


def reading(server):
    from huggingface_hub import HfApi

    return HfApi(endpoint=server.url, token=False)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Large, small, binary and empty files, in folders."""
    made = tmp_path / "folder"
    files = {
        "model.safetensors": random.Random(1).randbytes(300_000),
        "deep/er/weights.bin": random.Random(2).randbytes(1000),
        "config.json": b'{"a": 1}',
        "binary-without-ending": b"\0\1\2",
        "empty": b"",
        "README.md": b"# Hello\n",
    }
    for name, content in files.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(content)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".cache" not in path.parts and path.name != ".gitattributes"
    }


def test_a_token_says_who_it_is(server, api):
    assert api.whoami()["name"] == server.user
    with pytest.raises(OSError, match="Invalid user token"):
        api.whoami(token="hf_wrong")


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_a_folder_goes_up_and_comes_down(server, api, folder, tmp_path, kind):
    from huggingface_hub import hf_hub_download, snapshot_download

    url = api.create_repo(REPOSITORY, private=True, repo_type=kind)
    assert url.repo_id == REPOSITORY and url.repo_type == kind
    api.upload_folder(folder_path=folder, repo_id=REPOSITORY, repo_type=kind)
    where = {"repo_id": REPOSITORY, "repo_type": kind, "token": server.token, "endpoint": server.url}
    assert contents(Path(snapshot_download(**where, local_dir=tmp_path / "down"))) == contents(folder)
    assert contents(Path(snapshot_download(**where))) == contents(folder)  # through the cache
    path = hf_hub_download(**where, filename="deep/er/weights.bin")
    assert Path(path).read_bytes() == (folder / "deep/er/weights.bin").read_bytes()
    info = api.repo_info(REPOSITORY, repo_type=kind, files_metadata=True)
    sizes = {sibling.rfilename: sibling.size for sibling in info.siblings if sibling.rfilename != ".gitattributes"}
    assert info.private and sizes == {name: len(data) for name, data in contents(folder).items()}
    large = {sibling.rfilename for sibling in info.siblings if sibling.lfs}
    assert large == {"model.safetensors", "deep/er/weights.bin", "binary-without-ending"}


def test_creating_twice_is_a_conflict_unless_that_is_fine(api):
    api.create_repo(REPOSITORY)
    with pytest.raises(OSError, match="409"):
        api.create_repo(REPOSITORY)
    assert api.create_repo(REPOSITORY, exist_ok=True).repo_id == REPOSITORY
    with pytest.raises(OSError, match="403"):
        api.create_repo("someone-else/run")
    api.update_repo_settings(REPOSITORY, private=True)
    assert api.repo_info(REPOSITORY).private
    api.delete_repo(REPOSITORY)
    assert not api.repo_exists(REPOSITORY)


def test_strangers_see_public_repositories_only(server, api):
    from huggingface_hub.errors import RepositoryNotFoundError

    api.create_repo("tester/open"), api.create_repo("tester/closed", private=True)
    api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id="tester/open")
    stranger = reading(server)
    assert stranger.file_exists("tester/open", "a")
    with pytest.raises(RepositoryNotFoundError):
        stranger.repo_info("tester/closed")
    with pytest.raises(OSError, match="401"):
        stranger.upload_file(path_or_fileobj=b"2", path_in_repo="a", repo_id="tester/open")
    with pytest.raises(OSError, match="403"):
        api.upload_file(path_or_fileobj=b"2", path_in_repo="a", repo_id="tester/open", token=server.reader)


def test_history_is_kept_and_every_revision_can_be_read(server, api):
    from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError

    api.create_repo(REPOSITORY)
    commits = [
        api.upload_file(path_or_fileobj=b"%d" % n, path_in_repo="a.txt", repo_id=REPOSITORY, commit_message=f"take {n}")
        for n in range(3)
    ]
    listed = api.list_repo_commits(REPOSITORY)
    assert [commit.title for commit in listed] == ["take 2", "take 1", "take 0", "initial commit"]
    assert [commit.commit_id for commit in listed[:3]] == [commit.oid for commit in reversed(commits)]

    def read(revision: str) -> bytes:
        return Path(api.hf_hub_download(REPOSITORY, "a.txt", revision=revision)).read_bytes()

    api.create_tag(REPOSITORY, tag="v1", revision=commits[1].oid)
    api.create_branch(REPOSITORY, branch="old", revision=commits[0].oid)
    assert [read(at) for at in ("main", "v1", "old", commits[1].oid)] == [b"2", b"1", b"0", b"1"]
    refs = api.list_repo_refs(REPOSITORY)
    assert {ref.name for ref in refs.branches} == {"main", "old"} and refs.tags[0].target_commit == commits[1].oid
    with pytest.raises(RevisionNotFoundError):
        api.list_repo_files(REPOSITORY, revision="absent")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(REPOSITORY, "absent")
    api.delete_branch(REPOSITORY, branch="old"), api.delete_tag(REPOSITORY, tag="v1")
    assert len(api.list_repo_refs(REPOSITORY).branches) == 1


def test_a_commit_on_an_old_parent_is_refused(api):
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    api.create_repo(REPOSITORY)
    first = api.upload_file(path_or_fileobj=b"1", path_in_repo="a", repo_id=REPOSITORY)
    api.upload_file(path_or_fileobj=b"2", path_in_repo="a", repo_id=REPOSITORY)
    operation = CommitOperationAdd(path_in_repo="b", path_or_fileobj=b"3")
    with pytest.raises(OSError, match="412"):
        api.create_commit(REPOSITORY, [operation], commit_message="late", parent_commit=first.oid)
    with pytest.raises(OSError, match="doesn't exist"):
        api.create_commit(REPOSITORY, [CommitOperationDelete("absent")], commit_message="nothing to delete")
    assert api.list_repo_files(REPOSITORY) == [".gitattributes", "a"]


def test_files_and_folders_are_deleted_and_listed(server, api, folder):
    from huggingface_hub.hf_api import RepoFolder

    api.create_repo(REPOSITORY)
    api.upload_folder(folder_path=folder, repo_id=REPOSITORY)
    top = list(api.list_repo_tree(REPOSITORY))
    assert [entry.path for entry in top if isinstance(entry, RepoFolder)] == ["deep"]
    found = api.get_paths_info(REPOSITORY, ["deep/er/weights.bin", "deep", "absent"])
    assert {entry.path for entry in found} == {"deep/er/weights.bin", "deep"}
    api.delete_folder("deep", REPOSITORY)
    api.delete_file("empty", REPOSITORY)
    server.page = 2
    left = [entry.path for entry in api.list_repo_tree(REPOSITORY, recursive=True)]
    assert left == [".gitattributes", "README.md", "binary-without-ending", "config.json", "model.safetensors"]
