"""Inputs resolved to content."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from images.layers import tar
from images.layers.sources import Sources, rendered
from images.layers.tree import tree
from images.plan import Input
from profiles.errors import CheckFailed, WrongInput


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "ü.py").write_text("x = 1\n")
    (tmp_path / "app" / "link").symlink_to("ü.py")
    return tmp_path


def test_files_links_and_rendered_text_become_entries(root: Path) -> None:
    sources = Sources(root)
    script = sources.render("run.sh", "opt/stoker/bin/run", "#!/bin/sh\n", 0o755)
    entries = {entry.path: entry for entry in sources.entries([*tree(root, "app", "opt/stoker/app"), script])}
    assert {path: (entry.kind, entry.mode, entry.link) for path, entry in entries.items()} == {
        "opt/stoker/app/link": ("symlink", 0o644, "ü.py"),
        "opt/stoker/app/ü.py": ("file", 0o644, ""),
        "opt/stoker/bin/run": ("file", 0o755, ""),
    }
    assert b"".join(tar.content(entries["opt/stoker/app/ü.py"])) == b"x = 1\n"
    assert b"".join(tar.content(entries["opt/stoker/bin/run"])) == b"#!/bin/sh\n"


def test_rendered_text_is_hashed_as_utf8() -> None:
    one = rendered("a.j2", "opt/stoker/a", "ü")
    assert one == Input("rendered:a.j2", "opt/stoker/a", hashlib.sha256("ü".encode()).hexdigest(), 2, 0o644)


def test_one_name_cannot_stand_for_two_texts(tmp_path: Path) -> None:
    sources = Sources(tmp_path)
    sources.render("a", "opt/stoker/1", "same")
    sources.render("a", "opt/stoker/2", "same")
    with pytest.raises(WrongInput, match="two different texts"):
        sources.render("a", "opt/stoker/3", "other")


def test_a_rendered_text_can_be_opened_more_than_once(tmp_path: Path) -> None:
    sources = Sources(tmp_path)
    one = sources.render("a", "opt/stoker/1", "text")
    assert [sources.open(one).read() for _ in range(2)] == [b"text", b"text"]


def test_forbidden_targets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongInput, match="hidden by a mount"):
        Sources(tmp_path).render("a", "workspace/a", "text")


def test_a_file_that_went_away_since_the_plan_is_named(root: Path) -> None:
    (one,) = [one for one in tree(root, "app", "t") if one.link is None]
    (root / "app" / "ü.py").unlink()
    with pytest.raises(CheckFailed, match=r"cannot read app/ü\.py: no such file"):
        Sources(root).open(one)


def test_a_file_replaced_by_a_link_since_the_plan_is_not_followed(root: Path) -> None:
    (one,) = [one for one in tree(root, "app", "t") if one.link is None]
    (root / "app" / "ü.py").unlink()
    (root / "app" / "ü.py").symlink_to("/etc/hostname")
    with pytest.raises(CheckFailed, match=r"cannot read app/ü\.py"):
        Sources(root).open(one)


def test_text_nobody_rendered_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="no text was rendered"):
        Sources(tmp_path).open(rendered("a", "opt/stoker/a", "text"))
