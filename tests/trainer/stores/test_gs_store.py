"""gs://: kills, cuts, refusals and sessions; fake-gcs-server behind a proxy that breaks what it is told to."""

from __future__ import annotations

import json
import stat

import pytest

from tests.sim.fault_proxy import Rule
from tests.trainer.stores.conftest import PART
from tests.trainer.stores.sender import killed
from tests.trainer.stores.specification import item, noise, still, whole
from trainer.stores.gs import Gs
from trainer.stores.store import Item, Missing, StoreError

pytestmark = pytest.mark.slow


@pytest.fixture
def store(gcs_bucket, gs_line):
    made = Gs(f"gs://{gcs_bucket}/run", chunk=PART)
    yield made
    made.close()


def test_a_kill_in_the_middle_leaves_nothing_visible_and_another_process_goes_on(store, gs_line, tmp_path):
    size = 5 * PART + 100
    source = tmp_path / "source"
    source.write_bytes(noise(size))
    killed("gs", store.url, source, "step/weights", 3 * PART + PART // 2, part=PART)
    assert store.list() == {}
    counted = []
    store.put([Item("step/weights", source, size)], counted.append)
    assert sum(counted) == size - 3 * PART and gs_line.count("POST", "uploadType=resumable") == 1
    assert whole(store, "step/weights") == noise(size)


def test_a_session_is_a_secret_and_forgotten_when_it_is_over(store, gs_line, tmp_path):
    gs_line.add(Rule("PUT", "upload", times=9, status=503))
    with pytest.raises(StoreError) as busy:
        store.put([item("a", noise(2 * PART))], still)
    (note,) = (tmp_path / "cache" / "uploads").iterdir()
    assert stat.S_IMODE(note.stat().st_mode) == 0o600 and stat.S_IMODE(note.parent.stat().st_mode) == 0o700
    assert "upload_id" not in str(busy.value) and note.read_text() not in str(busy.value)
    gs_line.rules.clear()
    store.put([item("a", noise(2 * PART))], still)
    assert whole(store, "a") == noise(2 * PART) and not note.exists()


def test_a_session_that_the_server_forgot_is_begun_anew(store, gs_line):
    gs_line.add(Rule("PUT", "upload", after=1, status=503, times=1))
    with pytest.raises(StoreError):
        store.put([item("a", noise(3 * PART))], still)
    gs_line.gate = None
    gs_line.add(Rule("PUT", "upload", status=410))
    store.put([item("a", noise(3 * PART))], still)
    assert whole(store, "a") == noise(3 * PART) and gs_line.count("POST", "uploadType=resumable") == 2


def test_a_session_that_ends_in_the_middle_is_transient(store, gs_line):
    gs_line.add(Rule("PUT", "upload", after=1, status=410))
    with pytest.raises(StoreError) as ended:
        store.put([item("a", noise(3 * PART))], still)
    assert ended.value.transient
    store.put([item("a", noise(3 * PART))], still)
    assert whole(store, "a") == noise(3 * PART)


def test_the_server_that_kept_less_than_a_chunk_gets_the_rest_again(store, gs_line):
    """The service may persist a part of what it was sent and say so in Range."""
    kept = {"Range": f"bytes=0-{PART // 2 - 1}"}
    gs_line.add(Rule("PUT", "upload", status=308, headers=kept))
    with pytest.raises(StoreError):  # the emulator then takes a chunk for the whole; what matters is what we send
        store.put([item("a", noise(2 * PART))], still)
    spans = [seen.headers["content-range"] for seen in gs_line.requests("PUT", "upload")]
    assert spans[1].startswith(f"bytes {PART // 2}-")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_transient_and_its_wish_is_passed_on(store, gs_line, status):
    gs_line.add(Rule("POST|PUT", "", times=9, status=status, headers={"Retry-After": "7"}))
    with pytest.raises(StoreError) as busy:
        store.put([item("a", b"1")], still)
    assert busy.value.transient and busy.value.after == 7
    gs_line.rules.clear()
    store.put([item("a", b"1")], still)
    assert store.list() == {"a": 1}


def test_a_line_cut_at_any_byte_is_transient_and_the_next_put_goes_on(store, gs_line):
    content = noise(4 * PART)
    gs_line.add(Rule("PUT", "upload", after=2, cut_request=300_000))
    with pytest.raises(StoreError) as cut:
        store.put([item("a", content)], still)
    assert cut.value.transient and store.list() == {}
    counted = []
    store.put([item("a", content)], counted.append)
    assert sum(counted) == 2 * PART and whole(store, "a") == content


def test_what_the_server_keeps_is_compared_with_what_was_sent(store, gs_line):
    def other(body: bytes) -> bytes:
        return json.dumps({**json.loads(body), "md5Hash": "AAAAAAAAAAAAAAAAAAAAAA=="}).encode()

    gs_line.add(Rule("PUT", "upload", replace=other))
    with pytest.raises(StoreError, match="something else than was sent"):
        store.put([item("a", b"1")], still)


def test_a_cut_download_is_transient_and_goes_on_from_its_byte(store, gs_line):
    content = noise(500_000)
    store.put([item("a", content)], still)
    gs_line.add(Rule("GET", "alt=media", times=9, cut_response=200_000))
    got = b""
    with pytest.raises(StoreError) as cut:
        for piece in store.read("a"):
            got += piece
    assert cut.value.transient and content.startswith(got)
    gs_line.rules.clear()
    assert got + whole(store, "a", len(got)) == content


def test_a_server_that_ignores_ranges_is_read_all_the_same(store, gs_line):
    content = noise(300_000)
    store.put([item("a", content)], still)
    gs_line.add(Rule("GET", "alt=media", strip_range=True))
    assert whole(store, "a", 250_000) == content[250_000:]


def refused(reason: str) -> bytes:
    return json.dumps({"error": {"code": 403, "message": "no", "errors": [{"reason": reason}]}}).encode()


@pytest.mark.parametrize(
    ("reason", "transient", "hint"),
    [
        ("forbidden", False, "GOOGLE_APPLICATION"),
        ("rateLimitExceeded", True, "same call"),
        ("quotaExceeded", False, "room"),
    ],
)
def test_a_refusal_lasts_unless_it_is_about_the_rate(store, gs_line, reason, transient, hint):
    gs_line.add(Rule("POST", "upload", times=9, status=403, body=refused(reason)))
    with pytest.raises(StoreError, match="403 no") as told:
        store.put([item("a", b"1")], still)
    assert told.value.transient is transient and hint in told.value.next_step


def test_no_such_bucket_is_missing(gs_line):
    store = Gs("gs://nothing-here/run")
    with pytest.raises(Missing):
        whole(store, "a")
    with pytest.raises(Missing):
        store.list()


def test_no_credentials_are_said_at_once(monkeypatch, tmp_path):
    pytest.importorskip("google.auth")
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(StoreError) as told:
        Gs("gs://bucket/run").list()
    assert not told.value.transient and "GOOGLE_APPLICATION_CREDENTIALS" in told.value.next_step


def test_a_server_where_nobody_listens_is_transient(monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    with pytest.raises(StoreError) as gone:
        Gs("gs://bucket/run").list()
    assert gone.value.transient


def test_a_listing_is_read_to_its_last_page(store, gs_line):
    """The emulator has no pages: the first answer is cut in two here."""
    store.put([item(f"many/{number}", b"1") for number in range(6)], still)

    def page(begin: int, end: int, token: dict[str, str]):
        return lambda body: json.dumps({"items": json.loads(body)["items"][begin:end], **token}).encode()

    gs_line.add(Rule("GET", r"/o\?prefix", replace=page(0, 3, {"nextPageToken": "more"})))
    gs_line.add(Rule("GET", r"/o\?prefix.*pageToken=more", replace=page(3, 6, {})))
    assert store.list("many/") == {f"many/{number}": 1 for number in range(6)}


def test_a_server_that_falls_silent_is_transient(store, gs_line, monkeypatch):
    monkeypatch.setattr("trainer.stores.gs_line.TIMEOUT", (0.3, 0.3))
    gs_line.add(Rule("PUT", "", times=9, wait=2.0))
    with pytest.raises(StoreError, match=r"[Tt]imed? ?out") as silent:
        store.put([item("a", b"1")], still)
    assert silent.value.transient
