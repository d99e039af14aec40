"""`sync` and `pull` from a shell: words, exit codes, JSON."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.trainer.sync.making import damage, names, save, start
from trainer.checkpoint import verify


def test_a_run_goes_to_a_folder_and_comes_back_elsewhere(tmp_path, trainer):
    start(tmp_path / "run", 10, 20)
    sent = trainer("sync", "run", "--to", f"file://{tmp_path}/there")
    assert sent.returncode == 0, sent.stderr
    assert sent.stdout == f"file://{tmp_path}/there: step-00000020, step-00000010\n"
    assert "trainer: step-00000020 is at file://" in sent.stderr
    pulled = trainer("pull", f"file://{tmp_path}/there", "--run", "elsewhere")
    assert pulled.returncode == 0 and pulled.stdout.startswith(
        "elsewhere/checkpoints/step-00000020: 3.7 kB, 3.7 kB fetched"
    )
    assert verify.fault(tmp_path / "elsewhere/checkpoints/step-00000020") is None
    again = trainer("pull", f"file://{tmp_path}/there", "--run", "elsewhere")
    assert again.returncode == 0 and "is here already" in again.stdout


@pytest.mark.slow
def test_both_speak_json(tmp_path, trainer):
    start(tmp_path / "run", 10)
    sent = json.loads(trainer("sync", "run", "--to", "there", "--json").stdout)
    assert (sent["there"], sent["sent"], sent["unsent"], sent["error"], sent["exit_code"]) == (
        *[names(10)] * 2,
        [],
        None,
        0,
    )
    pulled = json.loads(trainer("pull", "there", "--run", "elsewhere", "--json").stdout)
    assert (pulled["step"], pulled["already"], pulled["passed"]) == (10, False, {})


def test_errors_are_one_line_with_a_next_step_and_the_contracts_exit_code(tmp_path, trainer):
    start(tmp_path / "run", 10)
    for arguments, code, word in (
        (("sync", "nowhere", "--to", "there"), 2, "no run folder"),
        (("sync", "run", "--to", "gcs://x/y"), 2, "did you mean gs://"),
        (("pull", "there", "--run", "x"), 1, "no whole checkpoint"),
        (("pull", "there", "--run", "x", "--best"), 1, "no whole checkpoint"),
        (("pull", "there", "--run", "x", "--missing-ok"), 0, "no whole checkpoint"),
    ):
        done = trainer(*arguments)
        assert (done.returncode, word in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr


@pytest.mark.slow
def test_a_pull_into_another_run_is_refused(tmp_path, trainer):
    start(tmp_path / "run", 10)
    trainer("sync", "run", "--to", "there")
    start(tmp_path / "other", 5, identity={"model": {"layers": 2}})
    done = trainer("pull", "there", "--run", "other")
    assert done.returncode == 4 and "--force" in done.stderr
    assert trainer("pull", "there", "--run", "other", "--force").returncode == 0


def test_a_damaged_newest_one_is_said_loudly_and_the_one_before_is_taken(tmp_path, trainer):
    start(tmp_path / "run", 10, 20)
    trainer("sync", "run", "--to", "there")
    damage(tmp_path / "there/checkpoints/step-00000020")
    done = trainer("pull", "there", "--run", "elsewhere")
    assert done.returncode == 0 and "WARNING: step-00000020" in done.stderr and "step-00000010" in done.stdout


@pytest.mark.slow
def test_a_url_of_another_run_is_refused(tmp_path, trainer):
    start(tmp_path / "run", 10)
    trainer("sync", "run", "--to", "there")
    start(tmp_path / "other", 5, identity={"model": {"layers": 2}})
    done = trainer("sync", "other", "--to", "there")
    assert done.returncode == 4 and "another run" in done.stderr and "--adopt" in done.stderr


@pytest.mark.slow
def test_retention_at_the_store_goes_by_the_flags(tmp_path, trainer):
    run = start(tmp_path / "run", 10, 20, 30)
    trainer("sync", "run", "--to", "there")
    shutil.rmtree(run / "checkpoints/step-00000010")
    save(run, 40)
    done = trainer("sync", "run", "--to", "there", "--remote-keep", "2", "--remote-keep-every", "20", "--json")
    assert json.loads(done.stdout)["there"] == names(40, 30, 20) and json.loads(done.stdout)["removed"] == names(10)
