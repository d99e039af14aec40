"""Every next step that the fleet prints can be pasted as it stands."""

from __future__ import annotations

import ast
import re

import pytest

from fleet.ledger.opening import open_ledger
from fleet.ledger.values import Run
from profiles.errors import Refused
from tests.conftest import ROOT
from tests.fleet.deploy.shelf import Tick

# `inv` alone is no program of this checkout: ./inv is.
BARE = re.compile(r"(?<![./\w])inv [a-z]+")


def texts(path, word: str = "") -> list[str]:
    """Its strings; none of a file without `word`."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source if word in source else "")
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


@pytest.mark.parametrize("room", ["fleet", "cli"])
def test_commands_are_named_as_they_are_typed(room: str):
    files = sorted((ROOT / room).rglob("*.py"))
    wrong = {(str(path.relative_to(ROOT)), text) for path in files for text in texts(path, "inv ") if BARE.search(text)}
    assert len(files) > 10 and wrong == set()


def test_flags_that_are_named_are_flags_of_the_program():
    tasks = {
        word
        for path in (*ROOT.glob("tasks/*.py"), *ROOT.glob("cli/*.py"))
        for word in re.findall(r"\w+", path.read_text())
    }
    named = {
        (path.name, flag)
        for room in ("launch", "ledger", "deploy", "watch", "resume")
        for path in sorted((ROOT / "fleet" / room).glob("*.py"))
        for text in texts(path)
        if "./inv" in text or text.startswith("--")
        for flag in re.findall(r"(?<![\w-])--([a-z][a-z-]+)", text)
    }
    assert named and {one for one in named if one[1].replace("-", "_") not in tasks} == set()


def test_a_name_that_is_taken_is_answered_with_the_flag_that_takes_another(tmp_path):
    with open_ledger(tmp_path, Tick()) as ledger:
        ledger.add_run(Run("night"))
        with pytest.raises(Refused) as refused:
            ledger.add_run(Run("night"))
    assert "--name" in refused.value.next_step and "./inv resume night" in refused.value.next_step
