"""The client at the simulator, which was written by the documents and knows nothing of the client: a pod's whole life,
and bad days; what either says is held against the API's document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import requests

from fleet.offers.offer import Offer, Question
from fleet.providers.outcomes import Because, NotCreated, Unclear
from fleet.providers.runpod.client import RunPod
from fleet.providers.values import Container, Order
from fleet.providers.values import State as S
from fleet.simulators.bodies.open import open_bodies
from fleet.simulators.bodies.state import State
from fleet.simulators.clock import BEGINNING, VirtualClock
from fleet.simulators.runpod.site import open_site
from fleet.simulators.server import running
from fleet.simulators.site import Site
from fleet.simulators.wire import Reply, Request
from tests.fleet.providers.runpod.conftest import TOKEN, Hours
from tests.fleet.providers.runpod.drift import newer

KEY = "rpa_key-for-the-simulator"


class Together:
    """The client's clock: the simulator's own, so that waiting costs nothing."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock

    def now(self):
        return self.clock.now()

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    state = State(tmp_path / "simulator")
    clock = VirtualClock(float("inf"), BEGINNING)
    site = open_site(clock, open_bodies("none", state, "", "host"), 0, Decimal(1000))
    wrong: list[str] = []
    finish = site.finish

    def checked(request: Request, reply: Reply) -> None:
        finish(request, reply)
        if request.path.startswith("/v2/"):
            wrong.extend(held(request, reply))

    site.finish = checked
    with running([site]):
        yield site
    state.close()
    assert (wrong, site.crashes) == ([], [])


def held(request: Request, reply: Reply) -> list[str]:
    """What is wrong with a request or with its answer; what a fault has broken on purpose is not looked at."""
    body = request.json() if request.body else None
    wrong = newer().request(request.method, request.path, request.query, request.headers, body)
    if reply.status >= 400:
        return wrong
    if reply.stream is None and not reply.drop and reply.raw is None:
        wrong += newer().answer(request.method, request.path, reply.status, "application/json", reply.body)
    return wrong


@pytest.fixture
def simulated(site: Site, tmp_path: Path) -> RunPod:
    return RunPod(KEY, tmp_path, Together(site.world.clock), {"STOKER_RUNPOD_URL": site.url})


@pytest.fixture
def listed(simulated: RunPod) -> Offer:
    return simulated.offers(Question(gpus=("h100-sxm",), counts=(2,)), "2026-11-21T12:00:00+00:00").offers[0]


def test_a_pod_lives_from_its_offer_to_its_end(site, simulated, listed, container, order, login, monkeypatch):
    monkeypatch.setattr("fleet.providers.runpod.logs.QUIET", 0.5)
    plan: Container = container(login=login, cuda="12.4", volume_gb=20)
    template = simulated.ensure_template(plan)
    assert simulated.ensure_template(plan) == template
    made = simulated.launch(replace(order(template), offer=listed, container=plan))
    assert (made.state, made.gpu, made.gpus, made.usd_hour) == (S.PENDING, "h100-sxm", 2, Decimal("5.98"))
    seen = []
    for _ in range(40):
        simulated.clock.sleep(5)
        pod = simulated.instance(made.id)
        seen.append(pod.state)
        if pod.ssh:
            break
    assert pod.ssh and list(dict.fromkeys(seen)) in ([S.STARTING, S.RUNNING], [S.PENDING, S.STARTING, S.RUNNING])
    assert any("registry.example/team/train" in line for line in simulated.logs(made.id))
    assert [each.tag for each in simulated.instances()] == [made.tag]
    before = simulated.balance().usd
    simulated.clock.sleep(3600)
    assert Decimal("5.9") < before - simulated.balance().usd < Decimal("6.1")
    simulated.stop(made.id)
    assert simulated.instance(made.id).state is S.STOPPED
    simulated.terminate(made.id)
    simulated.terminate(made.id)
    assert (simulated.instances(), simulated.instance(made.id)) == ([], None)


@pytest.mark.parametrize(
    ("knob", "outcome", "there"),
    [
        ("create.drop_after_commit", Unclear, 1),
        ("create.5xx_after_commit", Unclear, 1),
        ("create.5xx_before_commit", Unclear, 0),
        ("create.bad_2xx", Unclear, 1),
        ("create.429_before", Because.BUSY, 0),
        ("capacity_all_400", Because.CAPACITY, 0),
    ],
)
def test_each_bad_end_of_a_create_is_told_as_what_it_is(site, simulated, listed, order, knob, outcome, there):
    wanted: Order = replace(order(), offer=listed)
    site.world.faults.set({knob: {"count": 1}})
    with pytest.raises((Unclear, NotCreated)) as ended:
        simulated.launch(wanted)
    assert (ended.value.because if isinstance(ended.value, NotCreated) else type(ended.value)) is outcome
    assert [each.tag for each in simulated.instances()] == [wanted.tag] * there


@pytest.mark.parametrize("knob", ["destroy.429", "destroy.5xx", "destroy.lost_answer"])
def test_a_bad_end_of_an_ending_still_ends_it(site, simulated, listed, order, knob):
    made = simulated.launch(replace(order(), offer=listed))
    site.world.faults.set({knob: {"count": 6}})
    simulated.terminate(made.id)
    assert simulated.instances() == []


def test_without_credit_nothing_is_made_and_no_other_offer_would_do(tmp_path, order):
    state = State(tmp_path / "poor")
    site = open_site(VirtualClock(float("inf"), BEGINNING), open_bodies("none", state, "", "host"), 0, Decimal("0.5"))
    with running([site]):
        poor = RunPod(KEY, tmp_path, Hours(), {"STOKER_RUNPOD_URL": site.url})
        with pytest.raises(NotCreated) as refused:
            poor.launch(order())
    state.close()
    assert refused.value.because is Because.CREDIT


@pytest.mark.parametrize("knob", ["pagination_off", "secrets_off", "drift_fields_off"])
def test_the_older_api_is_good_for_a_pod_too(site, simulated, listed, container, order, knob):
    site.world.faults.set({knob: {}})
    template = simulated.ensure_template(container(cuda="12.4"))
    made = simulated.launch(replace(order(template), offer=listed))
    assert [each.id for each in simulated.instances()] == [made.id]
    assert ("secrets" in simulated.lacks) == (knob != "pagination_off")


def test_what_the_simulator_shows_of_our_requests_holds_no_token_and_no_violation(site, simulated, listed, order):
    simulated.launch(replace(order(), offer=listed))
    shown = site.log.shown()
    assert any(row["path"] == "/v2/pods" for row in shown)
    assert TOKEN not in str(shown) and KEY not in str(shown)
    assert [row["violations"] for row in shown if row["violations"]] == []


def test_the_bill_is_what_the_pod_has_cost(site, simulated, listed, order):
    begun = simulated.clock.now()
    made = simulated.launch(replace(order(), offer=listed))
    simulated.clock.sleep(30 * 3600)  # over a midnight
    simulated.terminate(made.id)
    simulated.clock.sleep(3600)
    bill = simulated.billed(made.id, begun, simulated.clock.now())
    assert bill is not None and float(bill.usd) == pytest.approx(float(made.usd_hour) * 30, rel=0.02)
    assert bill.traffic_usd == 0
    assert simulated.billed("nobody", begun, simulated.clock.now()) is None


def test_a_bill_of_another_pod_or_of_no_readable_amount_is_none(simulated, monkeypatch):
    answer = {"records": [{"podId": "x", "totalAmount": 1.5}, {"podId": "7h9k", "totalAmount": "much"}]}
    monkeypatch.setattr("fleet.wire.line.Line.get", lambda *rest: answer)
    now = simulated.clock.now()
    assert simulated.billed("7h9k", now, now) is None
    assert simulated.billed("x", now, now).usd == Decimal("1.5")


def test_a_network_volume_is_attached_in_its_data_centre_and_outlives_the_pod(
    site, simulated, listed, container, order
):
    body = {"name": "ckpt", "size": 100, "dataCenter": listed.region}
    headers = {"Authorization": f"Bearer {KEY}"}
    requests.post(f"{site.url}/v2/network-volumes", json=body, headers=headers, timeout=30).raise_for_status()
    [volume] = simulated.volumes()
    assert (volume.name, volume.region, volume.tier, volume.usd_month) == ("ckpt", listed.region, "secure", Decimal(7))
    box = container(volume=volume.id)
    made = simulated.launch(replace(order(simulated.ensure_template(box)), offer=listed, container=box))
    pod = requests.get(f"{site.url}/v2/pods/{made.id}", headers=headers, timeout=30).json()
    assert pod["mounts"] == {"network": [{"volumeId": volume.id, "path": "/workspace"}]}
    simulated.terminate(made.id)
    assert [one.id for one in simulated.volumes()] == [volume.id]
    with pytest.raises(NotCreated):
        elsewhere = replace(listed, region="EU-RO-1" if listed.region != "EU-RO-1" else "US-KS-2")
        simulated.launch(replace(order(), offer=elsewhere, container=box))
    assert simulated.instances() == []
