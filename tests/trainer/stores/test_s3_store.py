"""s3://: kills, cuts, refusals, and what is sent again; moto behind a proxy that breaks what it is told to."""

from __future__ import annotations

import base64
import hashlib
import time

import pytest

from tests.sim.fault_proxy import FaultProxy, Rule
from tests.trainer.stores.conftest import PART
from tests.trainer.stores.sender import killed
from tests.trainer.stores.specification import item, noise, still, whole
from trainer.stores.s3 import S3
from trainer.stores.store import Item, Missing, StoreError

pytestmark = pytest.mark.slow


@pytest.fixture
def line(moto_server, bucket, monkeypatch):
    with FaultProxy(moto_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{proxy.host}")
        yield proxy


@pytest.fixture
def store(bucket, line):
    made = S3(f"s3://{bucket.name}/run", part=PART)
    yield made
    made.close()


def parts_sent(line):
    return [seen for seen in line.requests("PUT", "partNumber=") if seen.status == 200]


def uploads(store):
    return store.client.list_multipart_uploads(Bucket=store.bucket).get("Uploads", [])


def test_a_kill_in_the_middle_leaves_nothing_visible_and_the_next_put_sends_only_what_is_missing(store, line, tmp_path):
    size = 6 * PART + 100
    source = tmp_path / "source"
    source.write_bytes(noise(size))
    killed("s3", store.url, source, "step/weights", 5 * PART + PART // 2, part=PART)
    assert store.list() == {} and len(uploads(store)) == 1
    while [seen for seen in line.requests("PUT", "partNumber=") if seen.status == 0 and seen.body == PART]:
        time.sleep(0.02)  # what had gone out whole is answered
    there = [seen.body for seen in parts_sent(line)]
    counted = []
    store.put([Item("step/weights", source, size)], counted.append)
    assert there and len(parts_sent(line)) == 7 and sum(counted) == size - sum(there)
    assert whole(store, "step/weights") == noise(size) and uploads(store) == []
    about = store.client.head_object(Bucket=store.bucket, Key="run/step/weights")
    assert len(about["Metadata"]["sha256"]) == 64


def test_parts_of_another_content_are_not_used_and_are_removed(store, line):
    old, new = noise(3 * PART, 1), noise(3 * PART, 2)
    line.add(Rule("PUT", "partNumber=3", times=9, status=400))
    with pytest.raises(StoreError):
        store.put([item("a", old)], still)
    line.rules.clear()
    assert len(uploads(store)) == 1
    store.put([item("a", new)], still)
    assert whole(store, "a") == new and uploads(store) == []


def test_deleting_ends_half_sent_uploads(store, line):
    line.add(Rule("PUT", "partNumber=2", times=9, status=400))
    for name in ("step-1/a", "step-1/b", "other/a"):
        with pytest.raises(StoreError):
            store.put([item(name, noise(2 * PART))], still)
        line.rules[0].times = 9
    assert len(uploads(store)) == 3
    store.delete(["step-1/manifest.json"])
    assert [upload["Key"] for upload in uploads(store)] == ["run/other/a"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_transient_and_its_wish_is_passed_on(store, line, status):
    line.add(Rule("PUT", "", times=9, status=status, headers={"Retry-After": "7"}))
    with pytest.raises(StoreError) as busy:
        store.put([item("a", b"1")], still)
    assert busy.value.transient and busy.value.after == 7 and line.count("PUT") <= 2
    line.rules.clear()
    store.put([item("a", b"1")], still)
    assert store.list() == {"a": 1}


def test_one_hiccup_passes_unseen(store, line):
    line.add(Rule("PUT", "partNumber=2", status=503), Rule("PUT", "partNumber=1", cut_request=PART // 2))
    store.put([item("a", noise(3 * PART))], still)
    assert whole(store, "a") == noise(3 * PART)


def test_a_line_cut_at_any_byte_is_transient_and_the_next_put_goes_on(store, line):
    content = noise(4 * PART)
    line.add(Rule("PUT", "partNumber=4", times=9, cut_request=300_000))
    with pytest.raises(StoreError) as cut:
        store.put([item("a", content)], still)
    assert cut.value.transient and store.list() == {}
    line.rules.clear()
    before = len(parts_sent(line))
    store.put([item("a", content)], still)
    assert len(parts_sent(line)) == 4 and before >= 1 and whole(store, "a") == content


def test_a_body_that_the_server_finds_damaged_is_transient(store, line):
    digest = b"<Error><Code>BadDigest</Code><Message>The Content-MD5 you specified did not match</Message></Error>"
    line.add(Rule("PUT", "run/a", times=9, status=400, body=digest))
    with pytest.raises(StoreError, match="BadDigest") as damaged:
        store.put([item("a", noise(10_000))], still)
    assert damaged.value.transient and store.list() == {}


def test_a_lost_answer_to_the_last_request_does_no_harm(store, line):
    line.add(Rule("POST", "uploadId=", lose_answer=True))
    store.put([item("a", noise(2 * PART))], still)
    assert whole(store, "a") == noise(2 * PART)


def test_a_write_that_the_server_lost_is_noticed(store, line):
    line.add(Rule("PUT", "run/a", status=200, headers={"ETag": '"x"'}, times=9))
    with pytest.raises(StoreError):
        store.put([item("a", b"1")], still)


def test_a_cut_download_is_transient_and_goes_on_from_its_byte(store, line):
    content = noise(500_000)
    store.put([item("a", content)], still)
    line.add(Rule("GET", "run/a", times=9, cut_response=200_000))
    got = b""
    with pytest.raises(StoreError) as cut:
        for piece in store.read("a"):
            got += piece
    assert cut.value.transient and content.startswith(got)
    line.rules.clear()
    assert got + whole(store, "a", len(got)) == content


def test_a_refusal_lasts(store, line):
    denied = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    line.add(Rule("PUT", "", times=9, status=403, body=denied))
    with pytest.raises(StoreError, match="AccessDenied") as refused:
        store.put([item("a", b"1")], still)
    assert not refused.value.transient and "AWS_ACCESS_KEY_ID" in refused.value.next_step
    line.rules.clear()
    full = b"<Error><Code>QuotaExceeded</Code><Message>full</Message></Error>"
    line.add(Rule("PUT", "", times=9, status=403, body=full))
    with pytest.raises(StoreError, match="QuotaExceeded") as refused:
        store.put([item("a", b"1")], still)
    assert not refused.value.transient and "room" in refused.value.next_step


def test_no_such_bucket_is_missing(line):
    store = S3("s3://nothing-here/run")
    for act in (store.list, lambda: store.put([item("a", b"1")], still), lambda: whole(store, "a")):
        with pytest.raises(Missing):
            act()


def test_no_credentials_are_said_at_once(line, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreError, match="credentials") as refused:
        S3("s3://bucket/run").list()
    assert not refused.value.transient and "AWS_ACCESS_KEY_ID" in refused.value.next_step
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreError, match="nobody") as refused:
        S3("s3://bucket/run")
    assert not refused.value.transient


def test_an_endpoint_where_nobody_listens_is_transient(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StoreError) as gone:
        S3(f"s3://{bucket.name}/run").list()
    assert gone.value.transient


def test_a_listing_is_read_to_its_last_page(store, line, monkeypatch):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")
    store.put([item(f"many/{number}", b"1") for number in range(8)], still)
    assert store.list("many/") == {f"many/{number}": 1 for number in range(8)} and line.count("GET", "list-type") == 3


def test_no_newer_checksum_header_is_sent(store, line):
    store.put([item("a", b"1"), item("b", noise(2 * PART))], still)
    (small,) = line.requests("PUT", "run/a")
    assert small.headers["content-md5"] == base64.b64encode(hashlib.md5(b"1").digest()).decode()
    for seen in line.requests("PUT"):
        assert "content-md5" in seen.headers
        assert not [name for name in seen.headers if name.startswith(("x-amz-checksum", "x-amz-trailer"))]


def test_progress_counts_what_is_sent_and_not_what_is_hashed(store):
    counted = []
    store.put([item("a", noise(PART // 2)), item("b", noise(3 * PART))], counted.append)
    assert sum(counted) == PART // 2 + 3 * PART


def test_a_server_that_falls_silent_is_transient(bucket, line, monkeypatch):
    monkeypatch.setattr("trainer.stores.s3.SILENCE", 0.3)
    store = S3(f"s3://{bucket.name}/run", part=PART)
    line.add(Rule("PUT", "", times=9, wait=2.0))
    with pytest.raises(StoreError, match=r"[Tt]ime") as silent:
        store.put([item("a", b"1")], still)
    assert silent.value.transient
