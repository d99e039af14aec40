"""A bare machine is of no use without an SSH key: that is told before it is ordered."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.deploy.login import enterable, has_key
from profiles.errors import WrongInput
from tests.fleet.deploy.shelf import Stall

BOTH = {name: Stall(name) for name in ("vast", "hyperbolic")}
ALONE = {"hyperbolic": Stall("hyperbolic")}


def test_without_a_key_it_is_refused_with_how_to_make_one(tmp_path: Path):
    with pytest.raises(WrongInput, match="no private SSH key here; nothing was ordered") as refused:
        enterable(ALONE, {}, tmp_path)
    assert "ssh-keygen" in refused.value.next_step and "STOKER_SSH_KEY" in refused.value.next_step


def test_where_others_are_asked_too_it_is_left_out_and_told(tmp_path: Path):
    left, notes = enterable(BOTH, {}, tmp_path)
    assert list(left) == ["vast"] and "hyperbolic" in notes[0] and "left out" in notes[0]


def test_a_provider_that_starts_the_container_itself_needs_none(tmp_path: Path):
    assert enterable({"vast": BOTH["vast"]}, {}, tmp_path) == ({"vast": BOTH["vast"]}, [])


@pytest.mark.parametrize("place", [".ssh/id_ed25519", "elsewhere/own"])
def test_with_a_key_it_is_asked(tmp_path: Path, place: str):
    key = tmp_path / place
    key.parent.mkdir()
    key.write_text("a private key\n", encoding="utf-8")
    environ = {} if place.startswith(".ssh") else {"STOKER_SSH_KEY": str(key)}
    assert enterable(BOTH, environ, tmp_path) == (BOTH, [])


def test_a_named_key_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(WrongInput, match="STOKER_SSH_KEY names no file"):
        has_key({"STOKER_SSH_KEY": str(tmp_path / "none")}, tmp_path)


def test_an_agent_that_is_not_there_holds_no_key(tmp_path: Path):
    from images.system import find

    unasked = find("ssh-add") is None  # then it counts as one that may hold a key
    assert has_key({"SSH_AUTH_SOCK": str(tmp_path / "none")}, tmp_path) is unasked
