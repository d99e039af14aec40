"""RunPod's own MCP server 4.0.0 drives the simulator: a client that does not share our misreadings (providers.md 5).

It runs in a network namespace with nothing but loopback, since it falls back to the real host when it is misdirected.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
PACKAGE = "@runpod/mcp-server@4.0.0"
HERE = Path(__file__).parent


def give_up(words: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(words)
    pytest.skip(words)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the session printed."""
    folder = tmp_path_factory.mktemp("mcp")
    if shutil.which("npm") is None or shutil.which("node") is None:
        give_up("npm is not installed: apt-get install npm")
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        pytest.skip("no network namespaces here, and this must not run in the open")
    npm = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE]
    if subprocess.run(npm, capture_output=True, timeout=300).returncode:
        give_up("npm cannot fetch the official server")
    script = folder / "node_modules/@runpod/mcp-server/dist/stdio.mjs"
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, str(HERE / "mcp_session.py"), str(script), str(folder)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_ran_where_nothing_but_loopback_can_be_reached(told: Any):
    assert told["alone"] is True


def test_every_tool_is_content_but_the_create_without_a_count(told: Any):
    refused = [one for one in told["answers"] if one["error"]]
    assert [one["tool"] for one in refused] == ["create-pod"]
    assert "no longer any instances available" in refused[0]["text"]
    assert len(told["answers"]) == 16


def test_nothing_it_sent_is_a_violation_and_nothing_broke(told: Any):
    assert told["violations"] == {}
    assert told["crashes"] == []


def test_it_is_the_official_client_that_asked(told: Any):
    agents = {row["agent"].partition(" ")[0] for row in told["requests"]}
    assert agents == {"runpod-mcp-server/4.0.0"}
    assert {row["status"] for row in told["requests"]} == {200, 201, 204, 400}
    assert "planted" not in json.dumps(told["requests"])


def test_one_pod_was_made_and_none_is_left(told: Any):
    assert (told["made"], told["living"]) == (1, 0)
