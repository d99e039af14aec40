"""`--help` of every task in one form: what stands behind it, what it does, its flags under headings."""

from __future__ import annotations

import re

import pytest

from cli.program import help_first, nearest, opened, registry


def helped(capsys: pytest.CaptureFixture[str], task: str) -> str:
    with pytest.raises(SystemExit) as ended:
        opened().run(help_first(["inv", task, "--help"]))
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("task", "usage"),
    [
        ("deploy", "deploy [--options]"),
        ("stop", "stop RUN [--options]"),
        ("logs", "logs RUN [--options]"),
        ("terminate", "terminate [RUN] [--options]"),
        ("watch", "watch [RUN ...] [--options]"),
        ("reconcile", "reconcile [--options]"),
        ("resume", "resume RUN [--options]"),
        ("copy", "copy SOURCE TARGET [--options]"),
    ],
)
def test_the_first_line_of_help_says_what_stands_behind_the_task(
    task: str, usage: str, capsys: pytest.CaptureFixture[str]
):
    assert helped(capsys, task).splitlines()[0] == f"Usage: ./inv {usage}"


def test_help_of_every_task_is_ours_and_names_each_of_its_flags_once(capsys: pytest.CaptureFixture[str]):
    opened()  # registers them
    assert len(registry) > 20
    for task, (_, body) in registry.items():
        said = helped(capsys, task)
        assert "core-opts" not in said and "Docstring" not in said, task
        assert (body.__doc__ or "").strip().splitlines()[0] in said
        shown = re.findall(r"(?m)^  (?:--?(?:\[no-\])?)?([A-Za-z][\w-]*)", said)
        names = [name.replace("_", "-") for name in body.__code__.co_varnames[1 : body.__code__.co_argcount]]
        assert sorted(name.lower() for name in shown if name.lower() in names) == sorted(names), task


@pytest.mark.parametrize("task", ["stop", "terminate", "logs", "resume"])
def test_the_name_of_the_run_is_explained_where_one_stands_behind_the_task(
    task: str, capsys: pytest.CaptureFixture[str]
):
    for _ in range(2):  # a second time in one process too
        said = helped(capsys, task)
        assert "  RUN   Name of the run, as `status` lists it." in said.splitlines()
    if task != "logs":
        assert "--yes" in said and "Do not ask." in said


def test_a_mistyped_task_is_answered_with_the_nearest_and_another_word_with_the_list():
    assert nearest("No idea what 'terminat' is!") == "did you mean terminate?"
    assert "--list" in nearest("No idea what 'nonsense' is!")
