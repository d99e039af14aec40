"""A run goes to each kind of store, by its real client against a server, and comes back the same."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time

import pytest

from tests.trainer.stores import hub_place
from tests.trainer.sync.making import damage, names, save, start
from trainer.stores.open import open_store
from trainer.sync import remote

pytestmark = pytest.mark.slow
SIZE = 200_000


@pytest.fixture
def ssh(sshd, tmp_path, monkeypatch):
    monkeypatch.setenv("STOKER_SSH_OPTIONS", sshd.options())
    return sshd.url(tmp_path / "far")


@pytest.fixture
def s3(bucket):
    return f"s3://{bucket.name}/my/run"


@pytest.fixture
def gs(gs_line, gcs_bucket):  # the line corrects what fake-gcs-server answers when a killed upload goes on
    return f"gs://{gcs_bucket}/my/run"


@pytest.fixture
def hf(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    with hub_place.served(tmp_path, monkeypatch) as server:
        # as `served` does for this process: the next ones read it from their environment
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        yield f"hf://{hub_place.REPOSITORY}/my/run"


@pytest.fixture(params=["ssh", "s3", "gs", "hf"])
def url(environment, request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def trainer(url, environment, tmp_path):
    """Starts `python -m trainer ...`, told of the server."""

    def begin(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "trainer", *arguments]
        own = {"PYTHONPATH": environment["PYTHONPATH"], "HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env={**environment, **os.environ, **own}, cwd=tmp_path, **pipes)

    return begin


@pytest.fixture
def report(trainer):
    """Its JSON, when it ended well."""

    def run(*arguments: str) -> dict:
        process = trainer(*arguments, "--json")
        output, words = process.communicate(timeout=120)
        assert process.returncode == 0, output + words
        return json.loads(output)

    return run


def everything(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_comes_back_the_same_and_the_store_keeps_what_it_should(tmp_path, url, report):
    run = start(tmp_path / "run", 10, 20, size=SIZE)
    sent = report("sync", "run", "--to", url)
    assert sent["there"] == names(20, 10) and sent["unsent"] == []
    pulled = report("pull", url, "--run", "elsewhere")
    assert pulled["step"] == 20 and pulled["fetched"] == pulled["bytes"]
    here, there = run / "checkpoints/step-00000020", tmp_path / "elsewhere/checkpoints/step-00000020"
    assert everything(here) == everything(there)
    assert (tmp_path / "elsewhere/tokenizer/tokenizer.json").read_text() == "{}\n"
    save(run, 30, size=SIZE)
    assert report("sync", "run", "--to", url, "--remote-keep", "1")["removed"] == names(10, 20)
    store = open_store(url)
    assert [found.name for found in remote.checkpoints(store) if found.complete] == names(30)
    assert {name.partition("/")[0] for name in store.list()} == {"checkpoints", "run"}
    store.close()


def test_killed_while_it_sends_it_goes_on_and_no_half_checkpoint_is_ever_shown(tmp_path, url, trainer, report):
    start(tmp_path / "run", 10, size=SIZE)
    generator = random.Random(3)
    store = open_store(url)
    for _ in range(3):
        process = trainer("sync", "run", "--to", url, "--rate", "0.3")
        time.sleep(generator.uniform(0.5, 2.5))
        process.kill()
        process.communicate()
        shown = [found.name for found in remote.checkpoints(store) if found.complete]
        assert shown in ([], names(10))
    store.close()
    assert report("sync", "run", "--to", url)["there"] == names(10)
    assert report("pull", url, "--run", "elsewhere")["step"] == 10


def test_a_file_that_is_damaged_there_is_found_by_a_pull(tmp_path, url, report):
    run = start(tmp_path / "run", 10, 20, size=SIZE)
    report("sync", "run", "--to", url)
    from trainer.stores.store import Item

    name = "weights-00000-00.safetensors"
    damage(run / "checkpoints/step-00000020", name)
    data = (run / "checkpoints/step-00000020" / name).read_bytes()
    store = open_store(url)
    store.put([Item(f"checkpoints/step-00000020/{name}", data, len(data))], lambda _: None)
    store.close()
    pulled = report("pull", url, "--run", "elsewhere")
    assert pulled["step"] == 10 and "another sha256" in pulled["passed"]["step-00000020"]
