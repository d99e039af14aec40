"""hf:// URLs: what they name, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import WRONG_INPUT, TrainerError
from trainer.stores.hub_address import Address, parse, private_wanted


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("hf://user/repo", Address("model", "user/repo")),
        ("hf://models/user/repo/", Address("model", "user/repo")),
        ("hf://datasets/user/repo", Address("dataset", "user/repo")),
        ("hf://user/repo@night", Address("model", "user/repo", "night")),
        ("hf://user/my-repo_1.2@night/runs/a", Address("model", "user/my-repo_1.2", "night", "runs/a")),
        ("hf://user/repo/runs/a@b", Address("model", "user/repo", "main", "runs/a@b")),
        ("hf://datasets/user/repo@refs/pr/7/runs", Address("dataset", "user/repo", "refs/pr/7", "runs")),
        ("hf://user/repo@feature%2Fx/runs", Address("model", "user/repo", "feature/x", "runs")),
    ],
)
def test_a_url_names_a_kind_a_repository_a_revision_and_a_folder(url, address, monkeypatch):
    monkeypatch.delenv("HF_REPO_TYPE", raising=False)
    assert parse(url) == address


def test_the_librarys_own_grammar_agrees(monkeypatch):
    uris = pytest.importorskip("huggingface_hub.utils._hf_uris")
    for url in ("hf://user/repo@night/runs/a", "hf://datasets/user/repo@refs/pr/7/runs", "hf://user/repo@a%2Fb/c"):
        theirs, ours = uris.parse_hf_uri(url), parse(url)
        assert (theirs.id, theirs.revision, theirs.path_in_repo) == (ours.repository, ours.revision, ours.folder)


NAMES = st.from_regex(r"[a-z0-9](?:[a-z0-9_.]?[a-z0-9])*", fullmatch=True).filter(
    lambda name: len(name) < 90 and name not in ("models", "datasets", "spaces", "buckets", "kernels")
)
PARTS = st.text("abcXYZ019 ._-+ü%#", min_size=1).filter(lambda part: part not in (".", ".."))


@given(st.sampled_from(["model", "dataset"]), NAMES, NAMES, PARTS, st.lists(PARTS))
def test_what_an_address_shows_as_its_url_is_that_address_again(kind, user, name, revision, folder):
    if name.endswith(".git"):
        name += "x"
    address = Address(kind, f"{user}/{name}", revision, "/".join(folder))
    assert parse(address.url) == address


def test_the_environment_decides_where_the_url_does_not(monkeypatch):
    monkeypatch.setenv("HF_REPO_TYPE", "dataset")
    assert parse("hf://user/repo").kind == "dataset" and parse("hf://models/user/repo").kind == "model"
    monkeypatch.setenv("HF_REPO_TYPE", "space")
    with pytest.raises(TrainerError, match="HF_REPO_TYPE"):
        parse("hf://user/repo")


@pytest.mark.parametrize(
    "url",
    [
        "hf://",
        "hf://user",
        "hf://datasets/user",
        "hf://spaces/user/repo",
        "hf://buckets/user/repo",
        "hf://user/re--po",
        "hf://user/repo.git",
        "hf://user/re po",
        "hf://user/repo@",
        "hf://user/repo@/x",
        "hf://user/repo/../other",
        "hf://user/repo//x",
        "s3://user/repo",
    ],
)
def test_what_names_no_repository_is_wrong_input(url):
    with pytest.raises(TrainerError) as refused:
        parse(url)
    assert refused.value.exit_code == WRONG_INPUT and refused.value.next_step


def test_private_unless_said_otherwise(monkeypatch):
    monkeypatch.delenv("HF_PRIVATE", raising=False)
    assert private_wanted()
    for word, wanted in (("true", True), ("1", True), ("", True), ("False", False), ("no", False), ("0", False)):
        monkeypatch.setenv("HF_PRIVATE", word)
        assert private_wanted() is wanted
    monkeypatch.setenv("HF_PRIVATE", "perhaps")  # never public by a typing error
    with pytest.raises(TrainerError, match="HF_PRIVATE"):
        private_wanted()
