"""The house rules that a reader may rely on, checked: arrows point downwards, files stay small, imports stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# What each room may import of ours. tasks -> cli -> fleet -> images -> profiles; trainer alone.
ALLOWED = {
    "profiles": {"profiles"},
    "images": {"images", "profiles"},
    "fleet": {"fleet", "images", "profiles"},
    "trainer": {"trainer"},
    "cli": {"cli", "fleet", "images", "profiles", "trainer"},
    "tasks": {"tasks", "cli", "fleet", "images", "profiles"},
}
# This one is never imported: smoke runs it inside the image, where the trainer is.
INSIDE = ROOT / "images/checks/inside.py"
# The file that ./inv runs: it opens the program with all tasks.
ENTRANCE = ROOT / "cli/program.py"
OURS = {*ALLOWED, "tests", "bench"}


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
        if (imports(path) & OURS) - ALLOWED[room] and path not in (INSIDE, ENTRANCE)
    }
    assert wrong == {}


def test_the_entrance_imports_the_tasks_and_nothing_else_of_what_lies_above_it():
    assert (imports(ENTRANCE) & OURS) - ALLOWED["cli"] == {"tasks"}


def test_the_tasks_are_a_file_for_each_heading_and_every_file_with_tasks_is_one_of_them():
    from cli.program import GROUPS, registry
    from tasks import FILES

    there = {path.stem for path in (ROOT / "tasks").glob("*.py") if "\n@task(" in path.read_text(encoding="utf-8")}
    assert there == {file.__name__.rpartition(".")[2] for file in FILES}
    assert {group for group, _ in registry.values()} == set(GROUPS)


def test_the_rule_sees_an_arrow_that_points_upwards(tmp_path: Path):
    (tmp_path / "bad.py").write_text("def f():\n    from images.plan import Base\n")
    assert imports(tmp_path / "bad.py") & OURS - ALLOWED["profiles"] == {"images"}


# The rooms of the trainer, each with those it may import; errors.py is everybody's.
TRAINER = {
    "config": set(),
    "machine": {"config"},
    "metrics": {"config"},
    "data": {"config"},
    "model": {"config"},
    "precision": {"config", "model"},
    "optim": {"config", "model"},
    "checkpoint": set(),
    "stores": set(),
    "sync": {"checkpoint", "stores"},
    "parallel": {"checkpoint", "config", "optim", "precision"},
    "run": {"checkpoint", "config", "data", "machine", "metrics", "model", "optim", "parallel", "precision"},
    "after": {"checkpoint", "config", "data", "metrics", "model", "optim", "parallel", "precision", "run"},
    "bench": {"config", "data", "metrics", "parallel", "run"},
    "commands": {
        *("after", "bench", "checkpoint", "config", "data", "machine", "metrics", "model", "optim", "parallel", "run"),
        *("stores", "sync"),
    },
}
# A whole config can only be judged by those who know what shapes and curricula can be; neither imports torch.
JUDGES = {"config/check.py", "config/read.py", "config/presets.py"}


def rooms(path: Path) -> set[str]:
    """Rooms of the trainer that a file imports when it runs, also inside functions; not those of its annotations."""
    tree, found = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10)), set()
    annotations = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    ]
    left_out = {id(inner) for block in annotations for inner in ast.walk(block)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or id(node) in left_out or not node.module:
            continue
        if node.module == "trainer":
            found |= {alias.name for alias in node.names}
        elif node.module.startswith("trainer."):
            found.add(node.module.split(".")[1])
    return found


@pytest.mark.parametrize("room", TRAINER)
def test_inside_the_trainer_arrows_point_downwards_too(room: str):
    known = set(TRAINER) - {room}
    wrong = {
        str(path.relative_to(ROOT)): sorted(rooms(path) & known - TRAINER[room])
        for path in (ROOT / "trainer" / room).rglob("*.py")
        if rooms(path) & known - TRAINER[room] and str(path.relative_to(ROOT / "trainer")) not in JUDGES
    }
    assert wrong == {}


def test_every_room_of_the_trainer_stands_in_the_rule():
    there = {path.name for path in (ROOT / "trainer").iterdir() if (path / "__init__.py").is_file()}
    assert there == set(TRAINER)


# The rooms of the planner, each with those it may import; count, shape, setup and what else lies beside them is every
# room's, but for choose and plan, which bring the rooms together.
PLANNER = {
    "memory": set(),
    "speed": set(),
    "finish": {"speed"},
    "advice": {"memory", "speed"},
    "report": {"advice", "finish", "memory", "speed", "plan"},
}


@pytest.mark.parametrize("room", PLANNER)
def test_inside_the_planner_arrows_point_downwards_too(room: str):
    above = {*PLANNER, "choose", "plan"} - {room} - PLANNER[room]
    wrong = {}
    for path in (ROOT / "fleet/capacity" / room).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        found = {name.split(".")[2] for name in modules if name.startswith("fleet.capacity.")} & above
        if found:
            wrong[path.name] = sorted(found)
    assert wrong == {}


def test_every_room_of_the_planner_stands_in_the_rule():
    there = {path.name for path in (ROOT / "fleet/capacity").iterdir() if (path / "__init__.py").is_file()}
    assert there == set(PLANNER)


# The rooms of the fleet; the clock beside them is every room's. A simulator that knew a client would agree with it.
FLEET: dict[str, set[str]] = {
    "capacity": set(),
    "wire": set(),
    "offers": {"capacity", "wire"},
    "providers": {"offers", "wire"},
    "ledger": {"providers", "offers"},
    "launch": {"life", "ledger", "providers", "offers", "wire"},
    "life": {"providers"},
    "deploy": {"life", "launch", "ledger", "providers", "offers", "capacity", "wire"},
    "watch": {"life", "launch", "ledger", "providers", "offers", "wire"},
    "resume": {"life", "watch", "deploy", "launch", "ledger", "providers", "offers", "capacity", "wire"},
    "simulators": set(),
}


@pytest.mark.parametrize("room", FLEET)
def test_inside_the_fleet_arrows_point_downwards_too(room: str):
    wrong = {}
    for path in (ROOT / "fleet" / room).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        found = {name.split(".")[1] for name in modules if name.startswith("fleet.")} & (
            set(FLEET) - FLEET[room] - {room}
        )
        if found:
            wrong[path.name] = sorted(found)
    assert wrong == {}


def test_every_room_of_the_fleet_stands_in_the_rule():
    there = {path.name for path in (ROOT / "fleet").iterdir() if (path / "__init__.py").is_file()}
    assert there == set(FLEET)


def test_files_stay_small():
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for room in (*ALLOWED, "bench")
        for path in (ROOT / room).rglob("*.py")
    }
    assert {name: lines for name, lines in sizes.items() if lines > 400} == {}


def test_listing_the_tasks_imports_nothing_heavy():
    code = "import sys; sys.path.insert(0, '.'); import cli.program; cli.program.opened(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    heavy = {"torch", "docker", "jinja2", "rich", "pydantic", "http.client", "requests", "zstandard", "deflate"}
    assert heavy & set(done.stdout.split()) == set()


@pytest.mark.parametrize("word", ["utils", "helpers", "manager", "misc"])
def test_no_room_or_file_is_called_nothing(word: str):
    names = [path for room in ALLOWED for path in (ROOT / room).rglob("*") if word in path.stem.lower()]
    assert names == []
