"""The build context: the same folder everywhere, complete or not there at all."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from images.builders import context
from images.layers.tar import MTIME, Entry
from images.plan import ImagePlan
from profiles.errors import CheckFailed, WrongInput

Entries = dict[str, list[Entry]]


def listing(folder: Path) -> list[tuple[str, int, float, str]]:
    """Path, mode, time and content of everything below `folder`."""

    def rows() -> Iterator[tuple[str, int, float, str]]:
        for path in [folder, *sorted(folder.rglob("*"))]:
            status = path.lstat()
            if path.is_symlink():
                content = str(path.readlink())
            else:
                content = "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
            yield str(path.relative_to(folder)), status.st_mode, status.st_mtime, content

    return list(rows())


def test_every_layer_is_a_folder_beside_the_dockerfile(plan: ImagePlan, entries: Entries, tmp_path: Path) -> None:
    out = context.write(plan, entries, tmp_path / "out", base="b")
    assert sorted(path.name for path in out.iterdir()) == ["Dockerfile", "layers"]
    assert sorted(path.name for path in (out / "layers").iterdir()) == ["trainer", "wheels"]
    home = out / "layers/trainer/opt/stoker"
    assert (home / "bin/run").read_text() == "#!/bin/sh\n"
    assert (home / "current").readlink() == Path("bin/run")
    assert (home / "folder-link").readlink() == Path("bin")
    assert (home / "empty").is_dir()
    assert (out / "layers/wheels/opt/stoker/site/pkg/naïve name $HOME with spaces*.txt").read_text() == "ü\n"


def test_modes_and_times_are_those_of_the_layers(plan: ImagePlan, entries: Entries, tmp_path: Path) -> None:
    out = context.write(plan, entries, tmp_path / "out", base="b")
    for path, mode, mtime, _ in listing(out):
        wanted = 0o755 if stat.S_ISDIR(mode) or path.endswith(("bin/run", "trainer/opt/stoker/both")) else 0o644
        assert stat.S_ISLNK(mode) or stat.S_IMODE(mode) == wanted, path
        assert mtime == MTIME, path


def test_two_contexts_of_one_plan_are_the_same_bytes(
    plan: ImagePlan, entries: Entries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = listing(context.write(plan, entries, tmp_path / "a", base="b"))
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    before = os.umask(0o077)
    try:
        shuffled = {name: list(reversed(found)) for name, found in reversed(entries.items())}
        second = listing(context.write(plan, shuffled, tmp_path / "deep" / "er" / "b", base="b"))
    finally:
        os.umask(before)
        monkeypatch.undo()
        time.tzset()
    assert first == second


def test_an_earlier_context_is_replaced_as_a_whole(plan: ImagePlan, entries: Entries, tmp_path: Path) -> None:
    context.write(plan, entries, tmp_path / "out", base="b")
    smaller = replace(plan, layers=plan.layers[1:])
    context.write(smaller, entries, tmp_path / "out", base="b")
    assert sorted(path.name for path in (tmp_path / "out/layers").iterdir()) == ["trainer"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"], "nothing of the old one lies about"


def test_a_folder_with_other_things_is_left_alone(plan: ImagePlan, entries: Entries, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(WrongInput, match=r"not empty.*thesis\.tex"):
        context.write(plan, entries, tmp_path, base="b")
    with pytest.raises(WrongInput, match="not a folder"):
        context.write(plan, entries, tmp_path / "thesis.tex", base="b")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_that_changed_since_the_plan_leaves_the_old_context(
    plan: ImagePlan, entries: Entries, tmp_path: Path
) -> None:
    before = listing(context.write(plan, entries, tmp_path / "out", base="b"))
    wrong = Entry(
        "opt/stoker/x", "file", 0o644, 3, lambda: io.BytesIO(b"abc"), sha256=hashlib.sha256(b"ab").hexdigest()
    )
    with pytest.raises(CheckFailed, match="changed while it was read"):
        context.write(plan, {**entries, "trainer": [wrong]}, tmp_path / "out", base="b")
    assert listing(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a/./b", "proc/x", "bin/sh"])
def test_no_entry_leaves_its_layer(plan: ImagePlan, entries: Entries, tmp_path: Path, path: str) -> None:
    entries["trainer"].append(Entry(path, "file", 0o644, 0, lambda: io.BytesIO(b"")))
    with pytest.raises(WrongInput, match="cannot enter a layer"):
        context.write(plan, entries, tmp_path / "out", base="b")
    assert list(tmp_path.iterdir()) == []


def test_a_layer_without_files_still_is_a_folder_to_copy(plan: ImagePlan, tmp_path: Path) -> None:
    out = context.write(plan, {"wheels": [], "trainer": []}, tmp_path / "out", base="b")
    assert (out / "layers/wheels").is_dir()
