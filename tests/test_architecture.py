"""The house rules that a reader may rely on, checked: arrows point downwards, files stay small, imports stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# What each room may import of ours. tasks -> fleet -> images -> profiles; trainer alone.
ALLOWED = {
    "profiles": {"profiles"},
    "images": {"images", "profiles"},
    "fleet": {"fleet", "images", "profiles"},
    "trainer": {"trainer"},
    "cli": {"cli", "tasks", "profiles"},
}
# This one is never imported: smoke runs it inside the image, where the trainer is.
INSIDE = ROOT / "images/checks/inside.py"
OURS = {*ALLOWED, "tasks", "tests", "bench"}


def imports(path: Path) -> set[str]:
    """First names of everything a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("room", ALLOWED)
def test_arrows_point_downwards(room: str):
    wrong = {
        str(path.relative_to(ROOT)): sorted((imports(path) & OURS) - ALLOWED[room])
        for path in (ROOT / room).rglob("*.py")
        if (imports(path) & OURS) - ALLOWED[room] and path != INSIDE
    }
    assert wrong == {}


def test_the_rule_sees_an_arrow_that_points_upwards(tmp_path: Path):
    (tmp_path / "bad.py").write_text("def f():\n    from images.plan import Base\n")
    assert imports(tmp_path / "bad.py") & OURS - ALLOWED["profiles"] == {"images"}


def test_files_stay_small():
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for room in (*ALLOWED, "bench")
        for path in (ROOT / room).rglob("*.py")
    }
    assert {name: lines for name, lines in sizes.items() if lines > 400} == {}


def test_listing_the_tasks_imports_nothing_heavy():
    code = "import sys; sys.path.insert(0, '.'); import tasks; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"torch", "docker", "jinja2", "rich", "pydantic", "http.client", "requests", "zstandard", "deflate"}
    assert heavy & set(done.stdout.split()) == set()


@pytest.mark.parametrize("word", ["utils", "helpers", "manager", "misc"])
def test_no_room_or_file_is_called_nothing(word: str):
    names = [path for room in ALLOWED for path in (ROOT / room).rglob("*") if word in path.stem.lower()]
    assert names == []
