"""Health: a living trainer that moves, a run that ended by itself, or none at all."""

from __future__ import annotations

import os
import time

from trainer.metrics.log import TRAINING, JsonLines
from trainer.run.folder import LOCK, owned
from trainer.run.health import judge


def test_no_run_is_healthy(tmp_path):
    assert judge(tmp_path / "none") == (True, f"no training in {tmp_path / 'none'}")


def test_a_living_trainer_is_healthy_until_it_stalls(tmp_path):
    with owned(tmp_path):
        metrics = JsonLines(tmp_path / TRAINING)
        metrics.add("step", step=4, loss=1.0)
        assert judge(tmp_path, stall_seconds=60)[0]
        for name in (TRAINING, LOCK):
            os.utime(tmp_path / name, (time.time() - 100,) * 2)
        healthy, why = judge(tmp_path, stall_seconds=60)
        metrics.close()
    assert not healthy and "stalled: step 4" in why


def test_a_trainer_that_died_is_not_healthy_and_one_that_ended_is(tmp_path):
    with owned(tmp_path):
        metrics = JsonLines(tmp_path / TRAINING)
        metrics.add("step", step=4, loss=1.0)
    assert judge(tmp_path) == (False, "the trainer died after step 4 without a word")
    metrics.add("stop", step=4, reason="done")
    metrics.close()
    assert judge(tmp_path) == (True, "ended at step 4: done")
