"""What would be lost, or have no effect, is told: a remote on the machine itself, bids where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.clock import WallClock
from fleet.deploy.container import refuse_own_disk
from fleet.deploy.filter import without_spot
from fleet.deploy.volume import chosen
from fleet.deploy.wishes import Wishes
from fleet.providers.local.client import LACKS as LOCAL
from fleet.providers.local.client import Local
from fleet.providers.runpod.client import LACKS as RUNPOD
from fleet.providers.values import Volume
from profiles.errors import WrongInput

KEPT = Volume("runpod", "v1", "ckpt", 100)


@pytest.mark.parametrize("path", ["/nowhere", "/workspace/../root/x", "/workspaces/x", "/workspace"])
@pytest.mark.parametrize("volume", [None, KEPT])
def test_a_file_remote_on_a_rented_machine_s_own_disk_is_refused(path: str, volume: Volume | None):
    with pytest.raises(WrongInput, match="is lost with it") as refused:
        refuse_own_disk(f"file://{path}", ["runpod"], "/workspace", volume)
    assert "hf://" in refused.value.next_step


def test_a_file_remote_is_taken_on_this_machine_and_in_a_rehearsal_and_on_the_volume():
    refuse_own_disk("file:///backup", [], "/workspace", None)
    refuse_own_disk("file:///workspace/kept", ["runpod"], "/workspace", KEPT)
    refuse_own_disk("s3://bucket/x", ["runpod"], "/workspace", None)
    with pytest.raises(WrongInput):
        refuse_own_disk("file:///workspace/kept", ["runpod"], "/workspace", None)


def test_bids_are_told_where_there_are_none():
    lacks = {"runpod": RUNPOD, "vast": {}, "local": LOCAL}
    assert without_spot(Wishes(), lacks) == []
    notes = without_spot(Wishes(spot=True), lacks)
    assert [note.partition(" has none")[0] for note in notes] == ["--spot: runpod", "--spot: local"]


@pytest.fixture
def local(tmp_path: Path) -> Local:
    return Local("", tmp_path / "state", WallClock(), {"STOKER_LOCAL": "processes"})


@pytest.mark.parametrize("text", ["nope", "../beside", "{}/a-file", "{}/none"])
def test_what_is_no_folder_here_is_told_without_a_word_of_a_console(text: str, local: Local, tmp_path: Path):
    (tmp_path / "a-file").write_text("x", encoding="utf-8")
    with pytest.raises(WrongInput, match="no such folder") as refused:
        chosen(text.format(tmp_path), {"local": local})
    assert "absolute path" in refused.value.next_step


@pytest.mark.parametrize("text", ["/", "/usr", "/tmp/.."])
def test_the_system_is_no_volume(text: str, local: Local):
    with pytest.raises(WrongInput, match="own system"):
        chosen(text, {"local": local})


def test_a_folder_of_one_s_own_is_one(local: Local, tmp_path: Path):
    assert chosen(str(tmp_path), {"local": local}).id == str(tmp_path)
