"""`./inv plan` with a state folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.plan_command import Command


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, monkeypatch, capsys)
