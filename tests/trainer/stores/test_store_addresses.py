"""Which URLs name a store, and which are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import TrainerError
from trainer.stores.address import FORMS, Address, parse
from trainer.stores.open import open_store


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("file:///mnt/volume/run", Address("file", "", "/mnt/volume/run")),
        ("file:///mnt/my%20volume", Address("file", "", "/mnt/my volume")),
        ("/mnt/volume", Address("file", "", "/mnt/volume")),
        ("ssh://me@host:2222/data/run/", Address("ssh", "me@host", "/data/run", 2222)),
        ("ssh://host/~/runs/a", Address("ssh", "host", "~/runs/a")),
        ("s3://bucket", Address("s3", "bucket", "")),
        ("s3://bucket/a/b/", Address("s3", "bucket", "a/b")),
        ("gs://bucket/a", Address("gs", "bucket", "a")),
        ("hf://datasets/me/runs@main/first", Address("hf", "datasets", "me/runs@main/first")),
    ],
)
def test_a_url_names_a_store(url, address):
    assert parse(url) == address


def test_a_plain_relative_path_is_a_folder_of_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = open_store("volume/run")
    assert store.url == "volume/run" and store.list() == {}
    assert parse("volume/run").path == str(tmp_path / "volume" / "run")


@pytest.mark.parametrize(
    ("url", "meant"),
    [("gcs://b/a", "gs"), ("sftp://h/a", "ssh"), ("s3a://b", "s3"), ("fil:///a", "file"), ("S3://b", "s3")],
)
def test_another_scheme_is_refused_and_the_nearest_named(url, meant):
    with pytest.raises(TrainerError, match=f"did you mean {meant}://") as refused:
        open_store(url)
    assert refused.value.exit_code == 2 and all(form in refused.value.next_step for form in FORMS.values())


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("ssh://me:hunter22@host/a", "ssh agent"),
        ("s3://AKIAABCDEFGHIJKLMNOP:hunter22@bucket/a", "AWS_SECRET_ACCESS_KEY"),
        ("s3://bucket/a?X-Amz-Signature=hunter22", "AWS_SECRET_ACCESS_KEY"),
        ("gs://token-hunter22@bucket", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("hf://me:hunter22@me/name", "HF_TOKEN"),
        ("hf://me/name/hf_hunter22hunter22hunter22", "HF_TOKEN"),
    ],
)
def test_a_secret_in_a_url_is_refused_without_being_repeated(url, place):
    with pytest.raises(TrainerError, match="URLs are logged") as refused:
        open_store(url)
    assert place in refused.value.next_step and "hunter22" not in f"{refused.value.what} {refused.value.next_step}"


@pytest.mark.parametrize(
    "url",
    ["", " ", "file://volume/run", "s3://", "s3:///a", "gs://-a", "s3://b/../c", "gs://b//c", "ssh://host", "ssh://host/",
     "ssh://-oProxyCommand=x/a", "ssh://host:port/a", "ssh:///a", "me@host:/data/run", "host:/data"],
)  # fmt: skip
def test_what_names_no_store_is_refused(url):
    with pytest.raises(TrainerError) as refused:
        open_store(url)
    assert refused.value.exit_code == 2 and refused.value.next_step


@given(st.text(max_size=40) | st.text("-:/@.?[]~#%a1", max_size=20))
def test_any_text_is_an_address_or_refused(text):
    for url in (text, f"ssh://{text}", f"s3://{text}", f"gs://{text}", f"hf://{text}", f"file://{text}"):
        try:
            address = parse(url)
        except TrainerError:
            continue
        assert address.scheme in FORMS and not address.host.startswith("-")
