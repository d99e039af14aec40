"""What the proofs of resuming share: trainer processes that start in milliseconds (bench/rows/resume_warm.py)."""

from __future__ import annotations

import os

import pytest

from bench.rows.resume_warm import Warm


@pytest.fixture(scope="session")
def warm(torch):
    """One process with torch, whose forks are the trainers."""
    with Warm() as warm:
        yield warm


@pytest.fixture(scope="session")
def warm_zero(torch):
    """The same with DeepSpeed."""
    __import__("deepspeed") if os.environ.get("CI") == "true" else pytest.importorskip("deepspeed")
    with Warm(zero=True) as warm:
        yield warm
