"""A pod's log as events (providers.md 1.9): opaque ids, three ways to begin, a stream that does not end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from fleet.simulators.clock import moment
from fleet.simulators.site import Site
from tests.fleet.simulators.talking import Talk, pod


@dataclass
class Log:
    """A pod with ten lines of its own after those of the system, and how to read them."""

    runpod: Talk
    site: Site
    pod_id: str

    def write(self, source: str, line: str, second: int) -> None:
        at = moment(self.site.world.now + second * 1_000_000)
        self.site.world.machines[self.pod_id].facts["log"].append((at, source, line))

    def events(self, query: str = "", headers: dict[str, str] | None = None) -> list[dict[str, Any]]:
        """The events of a stream up to a last line that is written once it is open."""
        found: list[dict[str, Any]] = []
        own = {"Authorization": "Bearer k", **(headers or {})}
        url = f"{self.runpod.url}/v2/pods/{self.pod_id}/logs{query}"
        with requests.get(url, headers=own, stream=True, timeout=60) as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"
            assert answer.headers["X-Accel-Buffering"] == "no"
            for source in ("container", "system"):
                self.write(source, "the end", 3600)
            for line in answer.iter_lines(chunk_size=1):
                name, _, value = line.decode().partition(": ")
                if name == "id":
                    found.append({"id": value})
                elif name == "data":
                    found[-1] |= json.loads(value)
                    if found[-1]["line"] == "the end":
                        break
        del self.site.world.machines[self.pod_id].facts["log"][-2:]
        return found[:-1]


@pytest.fixture
def log(runpod: Talk, runpod_site: Site) -> Log:
    made = runpod.made("/v2/pods", pod())
    runpod.sleep(60)
    written = Log(runpod, runpod_site, made["id"])
    for number in range(10):
        written.write("container", f"line {number}", number)
    return written


def test_events_carry_time_source_and_line(log: Log):
    last = log.events()[-1]
    assert last == {"id": last["id"], "ts": "2026-11-21T00:01:09Z", "source": "container", "line": "line 9"}


def test_the_source_may_be_chosen(log: Log):
    assert {one["source"] for one in log.events("?source=system")} == {"system"}
    assert len(log.events("?source=container")) == 10


def test_tail_gives_the_last_lines(log: Log):
    assert [one["line"] for one in log.events("?tail=2")] == ["line 8", "line 9"]
    assert log.events("?tail=0") == []


def test_since_beats_tail_and_the_last_id_beats_both(log: Log):
    since = "?tail=1&since=2026-11-21T00:01:06Z"
    lines = log.events(since)
    assert [one["line"] for one in lines] == ["line 7", "line 8", "line 9"]
    after = log.events(since, {"Last-Event-ID": lines[1]["id"]})
    assert [one["line"] for one in after] == ["line 9"]


@pytest.mark.parametrize("query", ["?tail=5001", "?tail=x", "?source=other", "?since=yesterday"])
def test_what_cannot_be_asked_for_is_422(log: Log, query: str):
    assert log.runpod.wrong("GET", f"/v2/pods/{log.pod_id}/logs{query}")


def test_a_stream_may_be_cut_in_the_middle_of_an_event(log: Log):
    log.runpod.faults(log_stream_cut={"count": 1, "events": 3})
    answer = requests.get(
        f"{log.runpod.url}/v2/pods/{log.pod_id}/logs", headers={"Authorization": "Bearer k"}, timeout=10
    )
    assert answer.text.count("\n\n") == 3
    assert not answer.text.endswith("\n\n")


def test_the_log_of_an_unknown_pod_is_404(runpod: Talk):
    assert runpod.refused("GET", "/v2/pods/nobody/logs")[0] == 404
