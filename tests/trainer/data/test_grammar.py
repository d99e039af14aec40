"""The text baked beside the code is what the grammar writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from trainer.data import grammar


def test_the_baked_text_is_what_the_grammar_writes(environment):
    baked = Path(grammar.__file__).with_name("tales.txt").read_bytes()
    command = [sys.executable, "-m", "trainer.data.grammar"]
    assert subprocess.run(command, env=environment, capture_output=True, check=True).stdout == baked
    assert len(baked) == grammar.SIZE and baked.isascii()
