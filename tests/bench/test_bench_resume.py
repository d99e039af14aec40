"""The proofs of resuming measure what their rows say, and their committed results are their own."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from bench import resume as bench
from bench.rows.resume_matrix import LAYOUTS, PLACES, PRECISIONS, cases
from bench.rows.resume_runs import differences

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench/results/resume.json"


@pytest.mark.slow
def test_a_short_run_writes_its_rows(tmp_path):
    out = tmp_path / "resume.json"
    assert bench.main(["--quick", "--only", "damage", "--only", "beside", "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert len(result["rows"]) == 4 and all(row["met"] is True for row in result["rows"])
    assert result["seconds"].keys() == {"damage", "beside"}


def test_the_cases_are_every_place_with_every_layout_in_both_precisions():
    whole, quick = cases(quick=False), cases(quick=True)
    assert len(whole) == len(PRECISIONS) * (len(LAYOUTS) * len(PLACES) - 3), "Muon has no ZeRO"
    assert {case.place.name for case in quick} == {place.name for place in PLACES}
    assert {case.layout for case in quick} == {*LAYOUTS}


def test_a_broken_promise_is_a_missed_row_and_the_other_parts_still_run(tmp_path, monkeypatch):
    def broken(*_):
        raise bench.Broken("a step was lost")

    monkeypatch.setitem(bench.PARTS, "damage", broken)
    monkeypatch.setattr(bench, "Warm", lambda **_: nullcontext())
    out = tmp_path / "resume.json"
    assert bench.main(["--quick", "--only", "damage", "--out", str(out)]) == 1
    [row] = json.loads(out.read_text())["rows"]
    assert row["met"] is False and row["notes"] == ["a step was lost"]


@pytest.mark.parametrize("harm", ["loss", "weights", "random", "pointer"])
def test_two_runs_that_differ_are_told_apart(trained_pair, harm):
    one, other = trained_pair
    assert differences(one, other, 4) == []
    if harm == "loss":
        file = other / "training_metrics.jsonl"
        text = file.read_text()
        place = text.index('"loss": ') + len('"loss": ')
        file.write_text(text[:place] + "9" + text[place:])
    elif harm == "pointer":
        (other / "checkpoints/latest").write_text("step-00000002\n")
    else:
        file = next((other / "checkpoints/step-00000004").glob(f"{harm}-*"))
        file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    assert differences(one, other, 4) != []


@pytest.fixture
def trained_pair(tmp_path):
    """Two runs of the same four steps."""
    pytest.importorskip("torch")
    from trainer.config import Checkpoint, Config, Model, Train
    from trainer.run.loop import train
    from trainer.run.stop import StopRequest

    shape = Model(layers=1, heads=2, width=32, context=32)
    for name in ("one", "other"):
        config = Config(model=shape, train=Train(steps=4, batch=4, device="cpu"), checkpoint=Checkpoint(every=2))
        assert train(config, tmp_path / name, StopRequest()) == 0
    return tmp_path / "one", tmp_path / "other"


@pytest.mark.skipif(not RESULTS.exists(), reason="the benchmark has not been run yet")
def test_the_committed_results_say_on_what_and_how_they_were_made():
    result = json.loads(RESULTS.read_text())
    assert result["command"].startswith("bench/resume.py") and result["machine"]["cores"]
    assert all(row["reach"] for row in result["rows"])
    proofs = [
        row
        for name, one in result["parts"].items()
        if name not in ("speed", "remote", "restore")
        for row in one["rows"]
    ]
    assert proofs and all(row["met"] is True for row in proofs), "what is promised is kept; speeds are as they are"
