"""The short form of the proofs in bench/fleet.py, and that each of them can fail."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from bench import fleet
from bench.rows import fleet_limits, fleet_offers, fleet_polling, fleet_secrets, fleet_sites
from bench.rows.fleet_secrets import KEYS, PASSWORD, PLANTED, Life
from bench.rows.fleet_sites import NAMES, Exchange, Over, Said, Together, served
from bench.rows.row import Row
from fleet.clock import open_clock
from fleet.deploy import market as bazaar
from fleet.deploy.needs import Needs
from fleet.deploy.wishes import Wishes
from fleet.providers.catalogue import open_provider
from fleet.simulators.wire import Reply

NEEDS = Needs(("h100-sxm",), 8, disk_gb=50)


def offers(folder: Path, market: fleet_sites.Served) -> bazaar.Market:
    environ = market.environ(folder)
    clock = open_clock(environ)
    providers = {name: open_provider(name, folder, environ, clock) for name in NAMES}
    return bazaar.market(providers, NEEDS, Wishes(min_reliability=0.0), None, clock)


def test_all_three_providers_are_asked_at_once(tmp_path: Path):
    """Each holds its first answer back until all three were asked: one after the other, nobody would ever answer."""
    with served() as market:
        asked, met = threading.Barrier(3), list[str]()
        for name, site in market.sites.items():
            hold_back(site, name, asked, met)
        found = offers(tmp_path, market)
    assert sorted(met) == sorted(NAMES)
    rows = [row.offer.provider for row in [*found.ranked]] + [row.offer.provider for row in found.sifted.dropped]
    assert set(rows) == set(NAMES) and dict(found.failures) == {}


def hold_back(site, name: str, asked: threading.Barrier, met: list[str]) -> None:
    answer, first = site.answer, threading.Lock()

    def held(method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        if not target.startswith("/_sim/") and first.acquire(blocking=False):
            asked.wait(60)  # raises where the others were not asked
            met.append(name)
        return answer(method, target, headers, body)

    site.answer = held


@pytest.mark.parametrize("down", NAMES)
def test_one_provider_that_is_down_is_told_and_costs_its_own_offers_alone(tmp_path: Path, down: str):
    with served() as market:
        market.faults(down, {"read.drop": True, "auth.revoked_midway": True})
        found = offers(tmp_path, market)
    there = {row.offer.provider for row in found.ranked} | {row.offer.provider for row in found.sifted.dropped}
    assert there - {down} == set(NAMES) - {down}
    assert set(found.failures) <= {down}
    assert down == "hyperbolic" or list(found.failures) == [down]  # Hyperbolic's offers need no key


def test_a_provider_that_is_down_in_silence_would_be_seen():
    healthy = {"offers": [{"provider": name} for name in ("runpod", "hyperbolic")], "dropped": [], "failures": {}}
    judge = fleet_offers.judged
    told = Said(0, json.dumps({**healthy, "failures": {"vast": "vast: 503"}}), "", 1.0)
    assert judge("vast", "answers 503", told, None) == []
    assert judge("vast", "answers 503", replace(told, out=json.dumps(healthy)), None) != []
    assert judge("vast", "answers 503", replace(told, code=1), None) != []
    assert judge("runpod", "answers 503", told, None) != []


@pytest.mark.slow
def test_ten_runs_are_watched_with_few_requests_and_all_of_them_live_on():
    rows = fleet_polling.rows(short=True)
    assert [row.met for row in rows] == [True] * 3, [(row.what, row.shown, row.notes) for row in rows]


def test_the_busiest_minute_is_found_wherever_it_begins():
    second = 1_000_000
    assert fleet_polling.busiest([]) == 0
    assert fleet_polling.busiest([at * second for at in (0, 59, 60, 61, 118, 119)]) == 4
    assert fleet_polling.busiest([at * 60 * second for at in range(60)]) == 1


def test_a_clock_that_several_share_goes_on_when_all_sleep():
    told = list[tuple[str, float]]()
    time = Steps()
    together = Together(time, 2, 100)

    def one(name: str, every: float) -> None:
        try:
            while True:
                together.sleep(every)
                told.append((name, (time.now() - Steps.BEGIN).total_seconds()))
        except Over:
            together.leave()

    threads = [threading.Thread(target=one, args=each) for each in (("slow", 40.0), ("fast", 30.0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(told) == [("fast", 30), ("fast", 60), ("fast", 90), ("slow", 40), ("slow", 80)]


class Steps:
    """A clock that only sleeping moves."""

    BEGIN = datetime(2026, 11, 21, tzinfo=UTC)

    def __init__(self) -> None:
        self.time = self.BEGIN

    def now(self) -> datetime:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.mark.slow
def test_limits_hold_when_our_process_is_dead():
    rows = fleet_limits.rows(short=True)
    assert [row.met for row in rows] == [True, True], [(row.what, row.shown, row.notes) for row in rows]


def test_a_machine_that_ends_late_or_never_is_a_miss():
    scene, deaf = fleet_limits.Scene("vast", "hours"), fleet_limits.Scene("vast", "idle", deaf=True)
    good = fleet_limits.Ended(20.0, Decimal(0), "destroyed")
    assert fleet_limits.row("vast", {scene: good, deaf: replace(good, late=119.0)}).met
    assert not fleet_limits.row("vast", {scene: good, deaf: replace(good, late=121.0)}).met
    assert not fleet_limits.row("vast", {scene: good, deaf: "RuntimeError: the machine still bills"}).met
    assert not fleet_limits.row("vast", {scene: replace(good, late=-600.0)}).met  # ended long before: a wrong limit


@pytest.mark.slow
def test_planted_secrets_are_found_nowhere():
    [row] = fleet_secrets.rows(["runpod"])
    assert row.met, row.notes


def clean() -> Life:
    """A life in which every secret went where it belongs."""
    body = json.dumps([*PLANTED.values()]).encode()
    stored = Exchange("runpod", "POST", "/v2/secrets", {"authorization": f"Bearer {KEYS['runpod']}"}, body, Reply())
    login = replace(stored, target="/v2/registries", body=PASSWORD.encode())
    return Life("runpod", {"deploy: output": b"secrets: HF_TOKEN"}, [stored, login], 12)


def test_a_secret_anywhere_else_is_a_miss():
    token = PLANTED["HF_TOKEN"]
    assert fleet_secrets.judged(clean()).met
    for words in (token, fleet_secrets.base64.b64encode(token.encode()).decode(), KEYS["runpod"], PASSWORD):
        life = clean()
        life.words["file user/state/fleet.sqlite"] = b"x" + words.encode() + b"y"
        assert not fleet_secrets.judged(life).met
    for change in ({"target": "/v2/templates"}, {"target": f"/v2/pods?key={KEYS['runpod']}"}, {"target": "/v2/pods"}):
        life = clean()
        life.exchanges.append(replace(life.exchanges[0], **change))
        assert not fleet_secrets.judged(life).met
    life = clean()
    life.exchanges.append(Exchange("runpod", "GET", "/v2/templates", {}, b"", Reply(200, {"env": token})))
    assert not fleet_secrets.judged(life).met


def test_a_secret_that_never_left_or_a_command_that_failed_proves_nothing():
    life = clean()
    del life.exchanges[0]
    assert not fleet_secrets.judged(life).met
    assert not fleet_secrets.judged(replace(clean(), failed=["deploy ended with 3"])).met


def test_the_command_lines_of_processes_are_seen():
    import subprocess
    import sys

    with fleet_secrets.command_lines() as seen:
        subprocess.run([sys.executable, "-c", "import time; time.sleep(0.3)", "a-planted-word"], check=True)
    assert any(b"a-planted-word" in line for line in seen)


def test_parts_run_alone_are_put_beside_the_others_and_a_miss_is_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "fleet.json"
    monkeypatch.setitem(fleet.PARTS, "offers", lambda asked: [Row("offers", "all", True, "3")])
    monkeypatch.setitem(fleet.PARTS, "polling", lambda asked: [Row("polling", "20", asked.quick, "12")])
    assert fleet.main(["--only", "offers", "--out", str(out)]) == 0
    assert fleet.main(["--only", "polling", "--out", str(out)]) == 1
    assert "MISSED polling: 12" in capsys.readouterr().out
    assert fleet.main(["--only", "polling", "--quick", "--out", str(out)]) == 0
    kept = json.loads(out.read_text())
    assert [row["what"] for row in kept["rows"]] == ["offers", "polling"]
    assert kept["parts"]["polling"]["command"].endswith("--quick --out " + str(out)) and kept["machine"]["cores"]


def test_a_part_that_breaks_is_a_miss_and_the_others_still_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(asked: object) -> list[Row]:
        raise RuntimeError("no simulator")

    monkeypatch.setitem(fleet.PARTS, "limits", broken)
    monkeypatch.setitem(fleet.PARTS, "offers", lambda asked: [Row("offers", "all", True, "3")])
    out = tmp_path / "fleet.json"
    assert fleet.main(["--only", "limits", "--only", "offers", "--out", str(out)]) == 1
    rows = json.loads(out.read_text())["rows"]
    assert [row["met"] for row in rows] == [False, True] and "no simulator" in rows[0]["notes"][0]
