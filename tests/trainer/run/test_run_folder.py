"""The run folder: whose it is, where it lies, and metrics that a kill cannot spoil."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trainer.errors import TrainerError
from trainer.metrics.log import TRAINING, JsonLines
from trainer.run import folder as run


def test_the_volume_comes_first_then_the_home_and_the_variable_wins(tmp_path, monkeypatch):
    monkeypatch.delenv("STOKER_RUN_DIR", raising=False)
    volume, home = tmp_path / "volume", tmp_path / "home"
    home.mkdir()
    profile = {"profile": "cpu", "volume": str(volume)}
    assert run.default_folder(profile, home) == home / "runs" / "cpu", "no volume mounted"
    volume.mkdir()
    assert run.default_folder(profile, home) == volume / "runs" / "cpu"
    monkeypatch.setenv("STOKER_RUN_DIR", "/elsewhere")
    assert str(run.default_folder(profile, home)) == "/elsewhere"


def test_nowhere_to_write_is_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.delenv("STOKER_RUN_DIR", raising=False)
    with pytest.raises(TrainerError, match="no writable place") as caught:
        run.default_folder({"volume": str(tmp_path / "a")}, tmp_path / "b")
    assert "STOKER_RUN_DIR" in caught.value.next_step


def test_a_killed_owner_lets_go(tmp_path, environment):
    code = "import sys, pathlib, trainer.run.folder as r\n"
    code += "with r.owned(pathlib.Path(sys.argv[1])): print(1, flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    assert run.is_owned(tmp_path)
    with pytest.raises(TrainerError, match=f"process {process.pid} is training"), run.owned(tmp_path):
        pass
    process.kill()
    process.communicate()
    assert not run.is_owned(tmp_path)
    with run.owned(tmp_path):
        assert run.is_owned(tmp_path)


def test_two_attempts_that_disagree_are_not_one_run(tmp_path):
    metrics = JsonLines(tmp_path / TRAINING)
    metrics.add("step", step=1, loss=0.5)
    metrics.add("step", step=1, loss=0.5)
    assert run.losses(tmp_path) == {1: 0.5}
    metrics.add("step", step=1, loss=0.5000001)
    with pytest.raises(TrainerError, match=r"step 1 gave loss 0\.5 and"):
        run.losses(tmp_path)
    metrics.close()


def test_a_folder_that_cannot_be_made_is_wrong_input(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainerError, match="cannot write the run folder"), run.owned(tmp_path / "file" / "run"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
