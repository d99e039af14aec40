"""The official `vastai` 1.9.1 client against our simulator, in a network namespace with nothing but loopback: a
simulator that only our own client has seen would repeat our misreadings (providers.md 5)."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
VERSION = "1.9.1"
KEPT = ROOT / ".stoker" / "test-material" / f"vastai-{VERSION}"  # git ignores it; 200 MB, fetched once

pytestmark = pytest.mark.slow


def lacking(words: str) -> None:
    """A failure with CI=true, else a skip."""
    pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)


@pytest.fixture(scope="module")
def official() -> Path:
    """The Python of a virtual environment of its own that has the client."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (KEPT / "done").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(KEPT / "venv")], check=True)
            wanted = [str(KEPT / "venv/bin/pip"), "install", "-q", f"vastai=={VERSION}"]
            done = subprocess.run(wanted, capture_output=True, text=True)
            if done.returncode:
                lacking(f"pip does not get vastai=={VERSION}: {done.stderr.strip()[-300:]}")
            (KEPT / "done").touch()
    return KEPT / "venv/bin/python"


@pytest.fixture(scope="module")
def told(official: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the client saw, and what really happened."""
    home = tmp_path_factory.mktemp("home")
    apart = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*apart, "true"], capture_output=True).returncode:
        lacking("this machine forbids network namespaces, and the client is not run in the open")
    command = [*apart, sys.executable, "-m", "tests.fleet.simulators.vast_official", str(official), str(home)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["error"] == ""
    return found


def test_the_client_gets_through_every_call_and_the_simulator_takes_all_of_them_for_valid(told: dict[str, Any]):
    assert told["violations"] == {}
    assert told["crashes"] == []
    assert told["unpublished"] == []  # and every answer is as the published file says
    wrong = [row for row in told["requests"] if row["status"] >= 400 and not row["path"].startswith("/vast-results/")]
    assert [(row["path"].split("/")[3], row["status"]) for row in wrong] == [("asks", 502)]
    assert {row["agent"].split("/")[0] for row in told["requests"]} <= {"vastai-sdk", "vastai-cli", "python-requests"}


def test_the_client_reads_offers_by_its_own_query_language(told: dict[str, Any]):
    offers = told["seen"]["offers"]
    assert len(offers) == 5
    assert {row["gpu_name"] for row in offers} == {"RTX 4090"}
    assert all(row["verification"] == "verified" and row["cuda_max_good"] >= 12.4 for row in offers)
    totals = [row["dph_total"] for row in offers]
    assert totals == sorted(totals)
    for row in offers:
        assert row["dph_total"] == pytest.approx(row["dph_base"] + 20 * row["storage_cost"] / 720, abs=2e-6)
    assert [row["dph_total"] for row in told["seen"]["newer"]] == sorted(
        (row["dph_total"] for row in told["seen"]["newer"]), reverse=True
    )


def test_the_client_sees_machines_run_stop_lose_their_bid_and_go(told: dict[str, Any]):
    seen = told["seen"]
    assert {row["label"] for row in seen["instances"]} == {"tour-1", "tour-2", "tour-3"}
    assert all(row["actual_status"] == "running" for row in seen["instances"])
    assert seen["shown"]["extra_env"] == {"RUN": "x", "-p 8000:8000": "1"}
    assert set(seen["shown"]["ports"]) == {"22/tcp", "8000/tcp"}
    states = ("cur_state", "intended_status", "next_state")
    assert [seen["outbid"][name] for name in states] == ["stopped"] * 3
    assert seen["resumed"]["actual_status"] == "running"
    assert seen["stopped_row"]["instance"]["gpuCostPerHour"] == 0
    assert seen["stopped_row"]["instance"]["diskHour"] > 0
    assert seen["missing"] is None
    assert seen["left"] == []


def test_the_client_makes_edits_and_deletes_templates_volumes_keys_and_secrets(told: dict[str, Any]):
    seen = told["seen"]
    assert [row["name"] for row in seen["templates"]] == ["tour"]
    assert seen["updated"]["template"]["id"] == seen["templates"][0]["id"]
    assert seen["updated"]["template"]["hash_id"] != seen["templates"][0]["hash_id"]
    assert seen["template_gone"] == {"success": True}
    assert seen["volume"]["volume_name"].startswith("V.")
    assert seen["volume_gone"] == {"success": True}
    assert len(seen["keys"]) == 1
    assert list(seen["secrets"]) == ["TOKEN"]
    assert "runs a/b:1" in seen["logs"]


def test_the_clients_own_retry_of_a_lost_create_makes_two_machines(told: dict[str, Any]):
    """The danger that the simulator has to model (providers.md 2.12), and that our own client must not meet."""
    assert told["seen"]["retried"] == ["danger", "danger"]
    assert told["truth"]["per_tag"]["danger"]["commits"] == 2


def test_the_clients_program_asks_for_the_user(told: dict[str, Any]):
    assert told["typed_error"] == ""
    assert json.loads(told["typed"])["id"] == 123_456
