"""The short form of `bench.rows.fleet_preemptions`: a real training run is taken away twice and ends as if it had never
been."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_run_that_is_preempted_twice_ends_with_the_weights_of_the_unbroken_run(tmp_path: Path):
    if find_spec("torch") is None and not os.environ.get("CI"):
        pytest.skip("no torch here")
    from bench.rows.fleet_preemptions import proof

    row = proof(("vast",), preemptions=2, steps=500, every=25, seed=1, folder=tmp_path)
    assert row.met, (row.shown, row.notes)
