"""The image benchmark in its shortest form: what it writes is complete, and what it counts is true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, program

pytestmark = pytest.mark.slow

SHORTEST = ["--base-mb", "8", "--layers", "2", "--runs", "1", "--no-docker", "--no-wheels"]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What bench/images.py wrote."""
    program("docker-registry")
    folder = tmp_path_factory.mktemp("bench")
    out = folder / "images.json"
    script = [sys.executable, str(ROOT / "bench" / "images.py")]
    done = subprocess.run(
        [*script, *SHORTEST, "--scratch", str(folder), "--out", str(out)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode in (0, 1), done.stderr  # 1: a reach was missed, which a busy machine may
    assert [path.name for path in folder.iterdir()] == ["images.json"], "the scratch folder was not deleted"
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def row(result: dict[str, Any], start: str) -> dict[str, Any]:
    return next(row for row in result["rows"] if row["what"].startswith(start))


def test_it_says_what_was_measured_on_what(result: dict[str, Any]) -> None:
    assert result["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert result["machine"]["kernel"] == os.uname().release
    assert result["versions"]["python"] == sys.version.split()[0]
    assert result["versions"]["docker-registry"]
    assert result["command"].startswith("bench/images.py --base-mb 8")
    assert result["base"]["size"] > 8_000_000


def test_every_row_has_its_samples_median_reach_and_verdict(result: dict[str, Any]) -> None:
    assert len(result["rows"]) == 9
    for one in result["rows"]:
        assert one["reach"] and one["shown"]
        assert one["met"] in (True, False, None)
        assert one["median"].keys() == {name for name, values in one["samples"].items() if values}
    timed = [one for one in result["rows"] if one["samples"].get("wall")]
    assert len(timed) == 6
    assert all(value > 0 for one in timed for value in one["samples"]["wall"])


def test_nothing_changed_sends_no_byte_of_a_blob(result: dict[str, Any]) -> None:
    samples = row(result, "nothing changed")["samples"]
    assert samples["bytes_sent"] == [0]
    assert samples["blob_bytes_at_proxy"] == [0]


def test_a_change_sends_the_trainer_and_not_the_base(result: dict[str, Any]) -> None:
    sent = row(result, "one-line change, build + push: machine without")["samples"]["bytes_sent"]
    assert all(1_000 < value < 1_000_000 for value in sent)


def test_memory_and_digests_met_their_reach(result: dict[str, Any]) -> None:
    assert row(result, "peak memory")["met"] is True
    found = row(result, "digests over")
    assert found["met"] is True
    assert len([note for note in found["notes"] if "sha256:" in note]) >= 6


def test_a_killed_copy_is_finished(result: dict[str, Any]) -> None:
    found = row(result, "copy killed")
    assert found["met"] is True
    assert 0 < found["samples"]["arrived_before_the_kill"][0] < result["base"]["size"]


def test_an_unknown_row_is_wrong_usage(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "bench" / "images.py"), "--rows", "speed", "--out", str(tmp_path / "none")]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no row speed" in done.stderr
