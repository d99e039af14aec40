"""A reader that does nothing but read, so one as fast as any machine can be, is held where the test wants it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.fleet.story.handed_out import BATCH, CONTEXT, SEED, SHARDS, STEPS_PER_SHARD, URL

pytestmark = pytest.mark.slow

READER = f"""
import sys
from pathlib import Path
from trainer.config import Data
from trainer.data.loader import Loader
from trainer.data.order import Order
from trainer.data.tokens import open_tokens
tokens = open_tokens(Data(path="{URL}", shuffle_shards=1), {CONTEXT}, 256, Path(sys.argv[1]))
with Loader(tokens.train, Order(tokens.train.shards, {SEED}, 1), {BATCH}, 0, 1, {CONTEXT}) as loader:
    for step in range({SHARDS * STEPS_PER_SHARD}):
        list(loader.micro_batches(step * {BATCH}, {BATCH}, {CONTEXT}))
        print(step + 1, flush=True)
"""


def test_nothing_is_read_beyond_what_was_handed_out(data, tmp_path):
    last = SHARDS * STEPS_PER_SHARD
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "STOKER_"))}
    env = {**plain, **data.variables(), "HF_TOKEN": data.server.reader, "HF_HOME": str(tmp_path / "home")}
    env |= {"HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1"}
    data.steps(48)
    command = [sys.executable, "-c", READER, str(tmp_path / "cache")]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        for held in (48, 80, last):
            data.steps(held)
            while (line := reader.stdout.readline()) and int(line) < held:
                pass
            assert line, "it ended before"
            assert data.sent() == [True] * (held // STEPS_PER_SHARD) + [False] * ((last - held) // STEPS_PER_SHARD)
    assert reader.returncode == 0
