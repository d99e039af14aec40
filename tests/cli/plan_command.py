"""`./inv plan ...` in this process, as a user types it: output and exit code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEYS = ("RUNPOD_API_KEY", "VAST_API_KEY", "HYPERBOLIC_API_KEY", "HYPERBOLIC_API_TOKEN")


@dataclass
class Answer:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> Answer:
    """`./inv WORDS` in this process."""
    from cli.program import help_first, opened

    made, code = opened(), 0
    capsys.readouterr()
    try:
        made.run(help_first(["inv", *words]))
    except SystemExit as ended:
        code = int(ended.code or 0)
    out, err = capsys.readouterr()
    return Answer(code, out, err)


class Command:
    """Runs it with a state folder of its own, in an empty folder, without keys."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        self.folder, self.capsys = folder, capsys
        monkeypatch.chdir(folder)
        monkeypatch.setenv("STOKER_HOME", str(folder / "state"))
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.setenv("COLUMNS", "100")
        for name in (*KEYS, "STOKER_PROFILE"):
            monkeypatch.delenv(name, raising=False)

    def __call__(self, *words: str) -> Answer:
        return typed(self.capsys, "plan", *words)
