"""Which files of a checkout become inputs, and that nothing of the machine comes along."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from images.layers.tree import tree
from images.plan import Input
from profiles.errors import WrongInput


def targets(inputs: tuple[Input, ...]) -> list[str]:
    return [one.target for one in inputs]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout without git."""
    folder = tmp_path / "checkout"
    (folder / "app" / "sub").mkdir(parents=True)
    (folder / "app" / "main.py").write_text("print(1)\n")
    (folder / "app" / "sub" / "grün & blau.txt").write_text("ü")
    return folder


def git(root: Path, *args: str) -> None:
    line = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *args]
    subprocess.run(line, cwd=root, check=True, capture_output=True)


@pytest.fixture
def checkout(root: Path) -> Path:
    """The same with git: app/ignored.log is ignored, app/fresh.py not yet added."""
    (root / ".gitignore").write_text("*.log\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    (root / "app" / "ignored.log").write_text("x")
    (root / "app" / "fresh.py").write_text("x")
    return root


def test_an_input_says_all_that_the_layer_needs(root: Path) -> None:
    first, second = tree(root, "app", "opt/stoker/app")
    digest = hashlib.sha256(b"print(1)\n").hexdigest()
    assert first == Input("app/main.py", "opt/stoker/app/main.py", digest, 9, 0o644)
    assert second.target == "opt/stoker/app/sub/grün & blau.txt"


def test_git_decides_what_belongs(checkout: Path) -> None:
    assert targets(tree(checkout, "app", "t")) == ["t/fresh.py", "t/main.py", "t/sub/grün & blau.txt"]


def test_tracked_but_deleted_files_are_left_out(checkout: Path) -> None:
    (checkout / "app" / "main.py").unlink()
    assert targets(tree(checkout, "app", "t")) == ["t/fresh.py", "t/sub/grün & blau.txt"]


def test_byte_code_never_belongs_even_when_tracked(checkout: Path) -> None:
    for name in ("app/__pycache__/main.cpython-311.pyc", "app/old.pyc", "app/__pycache__/note.txt"):
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_bytes(b"x")
    git(checkout, "add", "-f", ".")
    assert "pyc" not in " ".join(targets(tree(checkout, "app", "t")))


def test_without_git_dot_names_and_byte_code_are_left_out(root: Path) -> None:
    for name in ("app/.hidden", "app/.cache/x", "app/__pycache__/a.pyc"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    assert targets(tree(root, "app", "t")) == ["t/main.py", "t/sub/grün & blau.txt"]


def test_a_checkout_ignored_by_an_outer_repository_is_walked(root: Path) -> None:
    (root.parent / ".gitignore").write_text("checkout/\n")
    git(root.parent, "init", "-q")
    assert len(tree(root, "app", "t")) == 2


def test_only_the_executable_bit_of_the_mode_counts(root: Path) -> None:
    for mode, expected in ((0o600, 0o644), (0o666, 0o644), (0o700, 0o755), (0o4755, 0o755), (0o611, 0o644)):
        (root / "app" / "main.py").chmod(mode)
        assert tree(root, "app", "t")[0].mode == expected


def test_git_variables_of_a_hook_do_not_mislead(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = tree(checkout, "app", "t")
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent/index")
    assert tree(checkout, "app", "t") == expected


def test_links_inside_the_folder_are_kept_as_they_are(root: Path) -> None:
    (root / "app" / "sub" / "up").symlink_to("../main.py")
    (root / "app" / "whole").symlink_to("sub")
    (root / "app" / "slash").symlink_to("./sub/")
    found = {one.target: one for one in tree(root, "app", "t")}
    assert found["t/sub/up"].link == "../main.py"
    assert found["t/whole"].link == "sub"
    assert found["t/slash"].link == "./sub/"
    assert found["t/sub/up"].sha256 == hashlib.sha256(b"../main.py").hexdigest()
    assert "t/whole/up" not in found


@pytest.mark.parametrize("text", ["../secret", "/etc/passwd", "sub/../../secret", "../../x"])
def test_links_out_of_the_folder_are_refused_by_name(root: Path, text: str) -> None:
    (root / "secret").write_text("s")
    (root / "app" / "escape").symlink_to(text)
    with pytest.raises(WrongInput, match="'app/escape' points out of 'app'"):
        tree(root, "app", "t")


def test_a_link_that_leaves_through_another_link_is_refused(root: Path) -> None:
    (root / "app" / "a").mkdir()
    (root / "app" / "a" / "deep").symlink_to("../../app/a")  # inside only in appearance
    with pytest.raises(WrongInput, match="points out of"):
        tree(root, "app", "t")


def test_a_loop_of_links_is_no_endless_walk(root: Path) -> None:
    (root / "app" / "sub" / "round").symlink_to("../sub")
    (root / "app" / "self").symlink_to("self")
    assert "t/sub/round" in targets(tree(root, "app", "t"))


def test_pipes_and_sockets_are_refused_by_name(root: Path) -> None:
    os.mkfifo(root / "app" / "pipe")
    with pytest.raises(WrongInput, match="'app/pipe' is not a plain file"):
        tree(root, "app", "t")
    (root / "app" / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(root / "app" / "sock"))
        with pytest.raises(WrongInput, match="'app/sock'"):
            tree(root, "app", "t")


def test_a_nested_repository_is_refused_by_name(checkout: Path) -> None:
    nested = checkout / "app" / "vendored"
    nested.mkdir()
    git(nested, "init", "-q")
    (nested / "x").write_text("x")
    git(nested, "add", ".")
    git(nested, "commit", "-q", "-m", "x")
    with pytest.raises(WrongInput, match="vendored"):
        tree(checkout, "app", "t")


def test_names_that_are_not_utf8_are_refused(root: Path) -> None:
    (root / "app" / os.fsdecode(b"latin-\xe9")).write_text("x")
    with pytest.raises(WrongInput, match="not valid UTF-8"):
        tree(root, "app", "t")


@pytest.mark.parametrize("name", ["line\nbreak", "back\\slash", ".wh.gone"])
def test_names_a_layer_cannot_hold_are_refused(checkout: Path, name: str) -> None:
    (checkout / "app" / name).write_text("x")
    with pytest.raises(WrongInput, match="cannot enter a layer"):
        tree(checkout, "app", "t")


def test_a_missing_folder_is_named(root: Path) -> None:
    with pytest.raises(WrongInput, match="no folder 'nope'"):
        tree(root, "nope", "t")


def test_with_and_without_git_the_same_files_give_the_same_inputs(
    root: Path, checkout: Path, file_entry: Callable[..., object]
) -> None:
    (checkout / "app" / "ignored.log").unlink()
    with_git = tree(checkout, "app", "t")
    (checkout / ".git").rename(checkout / "no-git")
    assert tree(root, "app", "t") == with_git
