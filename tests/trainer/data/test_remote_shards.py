"""A server that stalls or fails only delays; one that goes on failing is a clear error."""

from __future__ import annotations

import logging
import sys
import threading

import pytest

from trainer.errors import TrainerError

pytest.importorskip("numpy")

from trainer.data.patience import Patience, plainly
from trainer.data.remote import Remote

QUICK = Patience(stall=0.3, tries=3, first=0.01, most=0.02)


def test_a_protocol_that_is_not_known_lists_those_that_are():
    with pytest.raises(TrainerError, match=r"data\.path cannot be ftp://") as caught:
        Remote("ftp://somewhere/folder")
    assert "s3://, gs://, hf://" in caught.value.next_step


def test_a_client_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(TrainerError) as caught:
        Remote("gs://somewhere/folder", QUICK).read("index.json")
    assert caught.value.next_step == "pip install gcsfs"


class Failing:
    """A server in front of a folder: fails, stalls or breaks off as told, then answers."""

    def __init__(self, folder, *faults, chunk=100):
        self.folder, self.faults, self.chunk, self.asked = folder, list(faults), chunk, []

    def cat_file(self, path, start=0, end=None):
        self.asked.append(start)
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, Exception):
            raise fault
        if fault == "stall":
            threading.Event().wait(1.0)
            return b"late" * 25
        content = (self.folder / path.rpartition("/")[2]).read_bytes()[start:end]
        return content[: self.chunk]


@pytest.fixture
def fetch(shard_folder, tmp_path):
    """Fetches shard 1 of a folder from a failing server: the file and what was asked."""
    from trainer.data import index

    folder = shard_folder()
    shard = index.read(folder).splits["train"].shards[1]

    def run(*faults, **more):
        remote = Remote("s3://corpora/corpus", QUICK)
        remote._system = Failing(folder, *faults, **more)
        into = tmp_path / "part"
        into.write_bytes(b"")
        remote.fetch(shard, into)
        assert into.read_bytes() == (folder / shard.file).read_bytes()
        return remote._system.asked

    return run


def test_a_server_that_fails_or_stalls_only_delays_and_the_download_goes_on_where_it_broke_off(fetch, caplog):
    caplog.set_level(logging.WARNING, "trainer.data")
    assert fetch() == [0, 100, 200]
    assert fetch(ConnectionError("reset")) == [0, 0, 100, 200]
    assert fetch(None, OSError("503 Slow Down"), "stall") == [0, 100, 100, 100, 200]
    said = [record.getMessage() for record in caplog.records]
    assert "fetching s3://corpora/corpus/train-00001.bin: ConnectionError: reset; try 2 of 3 in 0 s" in said
    assert any("nothing came for 0 s" in line for line in said)


def test_what_an_abandoned_try_brings_later_is_not_used(fetch):
    assert fetch("stall", None, "stall", "stall") == [0, 0, 100, 100, 100, 200]


def test_progress_starts_the_count_of_tries_anew(fetch):
    broken = OSError("broken pipe")
    assert fetch(broken, broken, None, broken, broken, None, broken, broken) == [0, 0, 0, 100, 100, 100, 200, 200, 200]


def test_a_server_that_keeps_failing_is_an_error_of_the_outside(fetch):
    with pytest.raises(TrainerError, match=r"failed 3 times: ConnectionError: reset") as caught:
        fetch(*[ConnectionError("reset")] * 3)
    assert caught.value.exit_code == 3 and "network" in caught.value.next_step


@pytest.mark.parametrize("error", [PermissionError("no"), OSError("Forbidden: gs://corpora")])
def test_a_refusal_is_not_tried_again(fetch, error):
    with pytest.raises(TrainerError, match="the server refuses") as caught:
        fetch(error)
    assert caught.value.exit_code == 3 and "credentials" in caught.value.next_step


def test_closing_ends_the_waiting(shard_folder):
    remote = Remote("s3://corpora/corpus", Patience(stall=30))
    remote._system = Failing(shard_folder(), "stall")
    threading.Timer(0.2, remote.close).start()
    with pytest.raises(TrainerError, match="was broken off"):
        remote.read("index.json")


def test_errors_are_told_without_signatures_and_logins():
    said = plainly(OSError("403 for https://me:pw@host/file?X-Amz-Signature=abc&Expires=1\nmore"))
    assert said == "OSError: 403 for https://...@host/file?..."
