"""`python -m trainer ...` in this process."""

from __future__ import annotations

from dataclasses import dataclass

import pytest


@dataclass
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def command(capsys, monkeypatch):
    """Runs a command; its exit code and what it said."""
    for name in ("STOKER_RUN_DIR", "STOKER_REMOTE"):
        monkeypatch.delenv(name, raising=False)
    from trainer.__main__ import main

    def run(*words) -> Said:
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run
