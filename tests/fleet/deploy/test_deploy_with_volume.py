"""`deploy --volume` as a user types it, against simulated providers: shown, attached, and there after the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.cli.fleet_command import Stage, staged
from tests.fleet.deploy.built import Built, build_small

HEADERS = {"Authorization": "Bearer key-of-nobody"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, registry: str, ngc: str) -> Built:
    return build_small(tmp_path_factory.mktemp("built"), registry, ngc, "with-volume")


@pytest.fixture
def stage(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Stage]:
    (tmp_path / "user").mkdir()
    with staged(tmp_path / "user", built.copy_state(tmp_path / "state"), monkeypatch, capsys, bodies="process") as here:
        yield here


@pytest.fixture
def small(built: Built) -> tuple[str, ...]:
    return "--profile", str(built.profile), "--provider", "runpod"


def network_volume(stage: Stage, name: str, region: str, size: int = 2000) -> str:
    body = {"name": name, "size": size, "dataCenter": region}
    answer = requests.post(f"{stage.urls['runpod']}/v2/network-volumes", json=body, headers=HEADERS, timeout=30)
    answer.raise_for_status()
    return str(answer.json()["id"])


def test_the_run_is_on_its_volume_and_the_volume_stays(stage: Stage, small: tuple[str, ...]):
    region = stage.json("offers", *small)["offers"][0]["region"]
    id = network_volume(stage, "ckpt", region)
    shown = stage("deploy", *small, "--volume", "ckpt", "--dry-run")
    assert shown.code == 0, shown.err
    assert f'"volumeId": "{id}"' in shown.out and "mounted at /workspace" in shown.out
    assert f"ckpt ({id}), 2,000 GB at runpod {region}, 120.00 USD/month" in shown.out
    assert "bills 120.00 USD/month by itself, and goes on" in shown.err
    made = stage.json("deploy", *small, "--volume", id, "--yes")
    assert made["volume"]["id"] == id and made["first"]["region"] == region
    ended = stage("terminate", "small", "--yes")
    assert ended.code == 0 and f"volume ckpt ({id})" in ended.err and "120.00 USD/month" in ended.err
    left = requests.get(f"{stage.urls['runpod']}/v2/network-volumes", headers=HEADERS, timeout=30).json()
    assert [one["id"] for one in left["networkVolumes"]] == [id]


def test_a_volume_where_no_offer_is_names_itself_as_the_tight_constraint(stage: Stage, small: tuple[str, ...]):
    offered = {row["region"] for row in stage.json("offers", *small)["offers"]}
    centres = requests.get(f"{stage.urls['runpod']}/v2/catalog/datacenters", headers=HEADERS, timeout=30).json()
    [lonely, *_] = [one["id"] for one in centres["dataCenters"] if one["id"] not in offered]
    network_volume(stage, "far", lonely)
    said = stage("deploy", *small, "--volume", "far", "--dry-run")
    assert said.code == 1
    assert "the tight constraint is the volume" in said.err and f"is in {lonely}" in said.err


def test_a_volume_that_is_too_small_or_not_there_rents_nothing(stage: Stage, small: tuple[str, ...]):
    region = stage.json("offers", *small)["offers"][0]["region"]
    network_volume(stage, "tiny", region, 10)
    refused = stage("deploy", *small, "--volume", "tiny", "--yes")
    assert refused.code == 4 and "has 10 GB" in refused.err and "leave --volume out" in refused.err
    unknown = stage("deploy", *small, "--volume", "tinny", "--yes")
    assert unknown.code == 2 and "did you mean `tiny`?" in unknown.err
    assert stage.truth("runpod") == []


def test_what_the_provider_billed_stands_in_the_report(stage: Stage, small: tuple[str, ...]):
    done = stage.json("deploy", *small, "--yes")
    requests.post(f"{stage.urls['clock']}/_sim/clock", json={"sleep": 5 * 3600}, timeout=30).raise_for_status()
    stage.json("status")
    ended = stage.json("terminate", "small", "--yes")
    [bill] = ended["bills"]
    assert bill["id"] == done["id"] and not bill["above"]
    assert float(bill["billed_usd"]) == pytest.approx(float(bill["counted_usd"]), rel=0.05)
    said = stage("report", "small")
    assert said.code == 0 and f"note: runpod {done['id']}: billed by runpod" in said.err
    assert stage.json("report", "small")["bills"][0]["billed_usd"]


def test_a_budget_pays_for_the_traffic_of_a_host_that_charges_for_it(stage: Stage, built: Built):
    vast = ("--profile", str(built.profile), "--provider", "vast", "--budget", "500")
    made = stage.json("deploy", *vast, "--dry-run")
    aside = float(made["traffic_usd"])
    assert aside > 0
    assert float(made["limits"]["usd"]) == pytest.approx(500 - aside, abs=0.01)
    assert any(note.startswith("of --budget 500.00") for note in made["notes"])
    said = stage("deploy", *vast, "--dry-run")
    assert "traffic" in said.out and "the image" in said.out
