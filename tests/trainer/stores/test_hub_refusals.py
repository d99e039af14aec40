"""What the Hub refuses, and what a user is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainer.stores.hub_place import REPOSITORY, STEP, weights
from tests.trainer.stores.specification import item, noise, still, whole
from trainer.stores.hub import Hub
from trainer.stores.store import Missing, StoreError

ROOT = Path(__file__).resolve().parents[3]


def test_without_a_token_nothing_is_created_and_the_step_is_named(store, server, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(StoreError) as refused:
        store.put([weights()], still)
    assert not refused.value.transient and "HF_TOKEN" in refused.value.next_step
    assert not server.repositories.all


@pytest.mark.parametrize("role", ["unknown", "reader"])
def test_a_token_that_may_not_write_is_told(server, store, monkeypatch, role):
    store.put([weights()], still)
    monkeypatch.setenv("HF_TOKEN", server.reader if role == "reader" else "hf_someoneelses")
    other = Hub(f"hf://{REPOSITORY}")
    with pytest.raises(StoreError) as refused:
        other.put([weights(1)], still)
    assert not refused.value.transient and "HF_TOKEN" in refused.value.next_step
    assert "hf_someoneelses" not in refused.value.what
    if role == "reader":
        assert whole(other, f"{STEP}/weights.safetensors") == noise(200_000)
    else:
        with pytest.raises(StoreError, match="401"):
            other.list()
    other.close()


def test_a_full_account_is_told_in_the_hubs_words_and_not_tried_again(store, server):
    server.faults.quota = 100_000
    with pytest.raises(StoreError, match="storage limit reached") as full:
        store.put([weights()], still)
    assert not full.value.transient and "prune" in full.value.next_step
    assert store.list() == {}


def test_a_404_of_some_other_server_is_not_an_empty_store(store, server):
    store.put([item("run/a.json", b"1")], still)
    server.faults.answer("GET .*/tree", 404, message="nginx")
    with pytest.raises(Missing, match="404"):
        store.list()


@pytest.mark.parametrize(
    ("status", "transient"), [(400, False), (403, False), (409, True), (412, True), (500, True), (503, True)]
)
def test_answers_say_whether_another_try_makes_sense(store, server, status, transient):
    store.put([item("run/a.json", b"1")], still)
    server.faults.answer("POST .*/commit/", status, message="as planned")
    with pytest.raises(StoreError, match=f"the Hub answers {status}: .*as planned") as answered:
        store.put([item("run/a.json", b"2")], still)
    assert answered.value.transient is transient and answered.value.after is None
    store.put([item("run/a.json", b"2")], still)


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "170"}, {"RateLimit": '"api";r=0;t=170', "RateLimit-Policy": '"fixed";"api";q=1;w=300'}]
)
@pytest.mark.parametrize("where", ["POST .*/preupload/", "POST .*/batch", "PUT /lfs", "POST .*/commit/", "GET .*/tree"])
def test_a_rate_limit_is_passed_on_and_not_slept_out(store, server, where, headers):
    store.put([item("run/a.json", b"1")], still)
    server.faults.answer(where, 429, headers=headers)
    with pytest.raises(StoreError) as limited:
        store.list() if "GET" in where else store.put([weights()], still)
    assert limited.value.transient and limited.value.after == 170
    store.put([weights()], still)


def test_a_hub_that_is_not_there_is_transient(store, server, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.stop()
    with pytest.raises(StoreError, match="ConnectError") as gone:
        store.list()
    assert gone.value.transient


def test_a_signed_url_never_stands_in_an_error(store, server, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.faults.answer("PUT /lfs", 403, message="https://x/?X-Amz-Signature=signed has expired")
    with pytest.raises(StoreError) as expired:
        store.put([weights()], still)
    assert expired.value.transient  # the next try gets a fresh URL
    assert "signed" not in expired.value.what and expired.value.__cause__ is None
    store.put([weights()], still)


PROGRAM = """
import sys
from pathlib import Path
from trainer.errors import TrainerError
from trainer.stores.hub import Hub
from trainer.stores.store import Item
store = Hub(sys.argv[1])
try:
    store.put([Item("a.safetensors", b"x" * 100000, 100000)], lambda count: None)
    store.put([Item("a.safetensors", b"x" * 100000, 100000)], lambda count: None)
    store.list(), list(store.read("a.safetensors")), store.delete(["a.safetensors"])
except TrainerError as error:
    print(error.what, "|", error.next_step)
"""


def in_a_process(server, tmp_path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **server.variables(tmp_path / "home"), "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, f"hf://{REPOSITORY}"], env=env, capture_output=True, text=True, timeout=60
    )


@pytest.mark.slow
def test_nothing_is_printed_by_us_or_the_library(server, tmp_path):
    done = in_a_process(server, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert server.faults.count("PUT /lfs") == 1


@pytest.mark.slow
@pytest.mark.parametrize("status", [403, 404])
def test_with_xet_its_own_refusals_are_told(server, tmp_path, status):
    server.faults.answer("xet-write-token", status)
    done = in_a_process(server, tmp_path, HF_HUB_DISABLE_XET="0")
    assert f"{status}" in done.stdout and ("HF_TOKEN" in done.stdout) is (status == 403) and not done.stderr
    assert server.faults.count("xet-write-token") == 1 and server.faults.count("PUT /lfs") == 0


@pytest.mark.slow
def test_offline_mode_is_told(server, tmp_path):
    done = in_a_process(server, tmp_path, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in done.stdout and "unset HF_HUB_OFFLINE" in done.stdout and not server.faults.calls
