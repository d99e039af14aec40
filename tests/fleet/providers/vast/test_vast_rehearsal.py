"""Our client against the simulated Vast, which somebody else wrote from the same facts: with all its intervals on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from fleet.offers.offer import INTERRUPTIBLE, ON_DEMAND, Offer, Question
from fleet.providers.outcomes import Because, CreatedAnyway, NotCreated, Unclear
from fleet.providers.values import Instance, Order, State
from fleet.providers.vast.client import Vast
from fleet.simulators.bodies.open import open_bodies
from fleet.simulators.bodies.state import State as Kept
from fleet.simulators.clock import VirtualClock
from fleet.simulators.server import running
from fleet.simulators.truth import rentals
from fleet.simulators.vast.site import VastSite, open_site
from fleet.wire.failed import KeyRefused, ProviderFailed, Throttled
from tests.fleet.offers.market import KEY
from tests.fleet.providers.vast.desk import TAG, TOKEN, container
from tests.fleet.providers.vast.published import watched

SEEN = "2026-11-21T12:00:00+00:00"
MANY = {"count": 100}


class Town:
    """The simulator, its clock, and our client of it."""

    def __init__(self, site: VastSite, clock: VirtualClock, url: str, tmp: Path) -> None:
        self.site, self.clock = site, clock
        self.vast = Vast(KEY, tmp, clock, {"STOKER_VAST_URL": url})
        self.other = Vast("wrong-key", tmp, clock, {"STOKER_VAST_URL": url})

    def fault(self, **knobs: Any) -> None:
        self.site.world.faults.set({name.replace("__", "."): table for name, table in knobs.items()})

    def offer(self, kind: str = ON_DEMAND) -> Offer:
        found = self.vast.offers(Question(("rtx4090",), spot=kind == INTERRUPTIBLE), SEEN).offers
        return min((each for each in found if each.kind == kind), key=lambda each: each.price)

    def order(self, kind: str = ON_DEMAND, times: str = "1.1", tag: str = TAG) -> Order:
        offer = self.offer(kind)
        bid = Decimal(str(offer.price * offer.count)) * Decimal(times) if kind == INTERRUPTIBLE else None
        return Order(tag, offer, container(), Decimal(50), bid, self.vast.ensure_template(container()))

    def until(self, id: str, wanted: State, minutes: int = 20) -> Instance:
        found = None
        for _ in range(minutes * 6):
            found = self.vast.instance(id)
            if found is not None and found.state is wanted:
                return found
            self.clock.sleep(10)
        raise AssertionError(f"{found} is never {wanted}")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """As nobody's client would."""
        self.clock.sleep(10)
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = requests.request(method, f"{self.site.url}{path}", json=body, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def post(self, path: str, body: Any) -> Any:
        return self.ask("POST", path, body)

    def put(self, path: str, body: Any) -> Any:
        return self.ask("PUT", path, body)

    def truth(self) -> dict[str, Any]:
        return rentals(self.site.world)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    clock = VirtualClock()
    kept = Kept(tmp_path / "simulator")
    site = open_site(clock, open_bodies("none", kept), seed=7)
    wrong = watched(site)
    with running([site]) as urls:
        yield Town(site, clock, urls["vast"], tmp_path)
    kept.close()
    assert (wrong, site.crashes) == ([], [])
    assert dict(site.log.violations) == {}


def test_a_machine_is_rented_runs_and_is_ended(town: Town):
    order = town.order()
    made = town.vast.launch(order)
    assert made.state is State.PENDING
    up = town.until(made.id, State.RUNNING)
    assert (up.tag, up.kind, up.gpu, up.gpus) == (TAG, ON_DEMAND, "rtx4090", order.offer.count)
    expected = order.offer.per_hour(order.container.disk_gb)
    assert up.usd_hour is not None and abs(float(up.usd_hour) - expected) < 1e-4
    assert up.ssh is not None and up.machine == order.offer.machine
    assert up.env["STOKER_TAG"] == TAG
    assert [each.id for each in town.vast.tagged(TAG)] == [made.id]
    town.vast.terminate(made.id)
    town.vast.terminate(made.id)
    assert town.vast.instance(made.id) is None
    assert town.vast.tagged(TAG) == [] and town.vast.instances() == []


def test_no_request_comes_too_soon(town: Town):
    for number in range(3):
        made = town.vast.launch(town.order(tag=f"{TAG}-{number}"))
        town.until(made.id, State.RUNNING)
        town.vast.balance(), town.vast.volumes(), town.vast.keys(), town.vast.instances()
        town.vast.terminate(made.id)
    statuses = [entry["status"] for entry in town.site.log.rows]
    assert statuses and 429 not in statuses
    assert TOKEN not in str(town.site.log.shown())


@pytest.mark.parametrize("knob", ["create__drop_after_commit", "create__5xx_after_commit", "create__bad_2xx"])
def test_a_lost_answer_is_unclear_and_the_machine_is_found_by_its_label(town: Town, knob: str):
    order = town.order()
    town.fault(**{knob: {"count": 1}})
    with pytest.raises(Unclear):
        town.vast.launch(order)
    town.clock.sleep(10)
    assert len(town.vast.tagged(TAG)) == 1


def test_a_5xx_before_anything_was_done_leaves_nothing(town: Town):
    order = town.order()
    town.fault(create__5xx_before_commit={"count": 1})
    with pytest.raises(Unclear):
        town.vast.launch(order)
    town.clock.sleep(10)
    assert town.vast.tagged(TAG) == []


@pytest.mark.parametrize(
    ("knob", "because"),
    [
        ("ask_gone_404", Because.CAPACITY),
        ("ask_gone_410", Because.CAPACITY),
        ("ask_gone_400", Because.CAPACITY),
        ("create__429_before", Because.BUSY),
        ("spend_rate_limit", Because.CREDIT),
        ("foreign_ask", Because.FORBIDDEN),
    ],
)
def test_a_refusal_is_understood(town: Town, knob: str, because: Because):
    order = town.order()
    town.fault(**{knob: {"count": 1}})
    with pytest.raises(NotCreated) as refused:
        town.vast.launch(order)
    assert refused.value.because is because
    town.clock.sleep(10)
    assert town.vast.tagged(TAG) == []


def test_a_rented_slice_is_gone_for_the_next(town: Town):
    order = town.order()
    town.vast.launch(order)
    with pytest.raises(NotCreated) as refused:
        town.vast.launch(replace(order, tag=f"{TAG}-2"))
    assert refused.value.because is Because.CAPACITY


def test_a_bid_too_low_leaves_a_machine_that_is_named(town: Town):
    order = town.order(INTERRUPTIBLE, times="0.9")
    with pytest.raises(CreatedAnyway) as there:
        town.vast.launch(order)
    town.vast.terminate(there.value.id)
    assert town.vast.instances() == []


def test_a_bid_that_is_outbid_is_interrupted_and_bills_its_disk(town: Town):
    order = town.order(INTERRUPTIBLE)
    made = town.vast.launch(order)
    up = town.until(made.id, State.RUNNING)
    assert up.kind == INTERRUPTIBLE
    town.site.admin["preempt"]({"id": made.id})
    down = town.until(made.id, State.INTERRUPTED)
    assert down.usd_hour is not None and up.usd_hour is not None and down.usd_hour < up.usd_hour
    town.vast.terminate(made.id)


def test_a_machine_that_we_stopped_is_not_interrupted(town: Town):
    made = town.vast.launch(town.order(INTERRUPTIBLE))
    town.until(made.id, State.RUNNING)
    town.vast.stop(made.id)
    town.until(made.id, State.STOPPED)
    town.vast.start(made.id)
    town.until(made.id, State.RUNNING)


@pytest.mark.parametrize(
    ("knob", "state"),
    [
        ("oci_create_failed", State.FAILED),
        ("host_offline", State.FAILED),
        ("unknown_heartbeat", State.FAILED),
        ("frozen", State.UNKNOWN),
        ("never_leaves_loading", State.STARTING),
        ("status__unknown_value", State.UNKNOWN),
        ("status__missing", State.UNKNOWN),
    ],
)
def test_a_bad_host_is_seen_as_what_it_is(town: Town, knob: str, state: State):
    order = town.order()
    birth = not knob.startswith("status")
    town.fault(**{knob: {"count": 1} if birth else {}})
    made = town.vast.launch(order)
    town.clock.sleep(600)
    found = town.vast.instance(made.id)
    assert found is not None and found.state is state


@pytest.mark.parametrize("knob", ["destroy__429", "destroy__5xx", "destroy__lost_answer"])
def test_ending_goes_on_until_it_is_gone(town: Town, knob: str):
    made = town.vast.launch(town.order())
    town.until(made.id, State.RUNNING)
    town.fault(**{knob: {"count": 6}})
    town.vast.terminate(made.id)
    town.clock.sleep(60)
    assert town.vast.instance(made.id) is None


def test_a_price_that_is_missing_or_text_is_read_for_what_it_is(town: Town):
    made = town.vast.launch(town.order())
    up = town.until(made.id, State.RUNNING)
    town.fault(price__string={})
    found = town.vast.instance(made.id)
    assert (
        found is not None and found.usd_hour is not None and abs(found.usd_hour - (up.usd_hour or 0)) < Decimal("0.01")
    )
    town.fault(price__string=None, price__missing={})
    found = town.vast.instance(made.id)
    assert found is not None and (found.usd_hour is None or found.usd_hour > 0)


def test_a_wrong_key_is_told_everywhere(town: Town):
    for asked in (town.other.balance, town.other.instances, town.other.volumes, lambda: town.other.instance("1")):
        with pytest.raises(KeyRefused):
            asked()
    with pytest.raises(NotCreated) as refused:
        town.other.launch(town.order())
    assert refused.value.because is Because.KEY


def test_logs_come_from_elsewhere_and_without_the_key(town: Town):
    made = town.vast.launch(town.order())
    town.until(made.id, State.RUNNING)
    assert isinstance(list(town.vast.logs(made.id, tail=5)), list)
    with pytest.raises(ProviderFailed):
        list(town.vast.logs("4242"))


def test_the_template_is_made_once_and_changed_when_the_plan_does(town: Town):
    first = town.vast.ensure_template(container())
    assert town.vast.ensure_template(container()) == first
    second = town.vast.ensure_template(container(disk_gb=70))
    assert second.key != first.key and second.id == first.id
    assert {entry["status"] for entry in town.site.log.rows} == {200}


def test_the_credit_is_read(town: Town):
    assert town.vast.balance().usd == Decimal(1000)
    for knob, expected in (("balance__zero", Decimal(0)), ("balance__missing", None)):
        town.fault(**{knob: {}})
        assert town.vast.balance().usd == expected
        town.fault(**{knob: None})
    town.fault(balance__negative={})
    negative = town.vast.balance().usd
    assert negative is not None and negative < 0


@pytest.mark.parametrize("style", ["400", "402", "411", "200"])
def test_no_credit_stops_in_every_wording(town: Town, style: str):
    order = town.order()
    town.fault(out_of_credit_body={"count": 1, "style": style})
    with pytest.raises(NotCreated) as refused:
        town.vast.launch(order)
    assert refused.value.because is Because.CREDIT and "billing" in refused.value.next_step


def test_one_that_is_not_shown_yet_is_not_gone(town: Town):
    made = town.vast.launch(town.order())
    seen = town.vast.instance(made.id)  # null, seconds after the create
    assert seen is not None and seen.state is State.PENDING
    town.fault(list__lag={"reads": 3})
    assert Vast(KEY, Path(), town.clock, {"STOKER_VAST_URL": town.site.url}).tagged(TAG) in ([], town.vast.tagged(TAG))
    town.fault(list__lag=None)
    town.until(made.id, State.RUNNING)


def test_two_machines_of_one_tag_are_both_listed(town: Town):
    order = town.order()
    town.fault(list__duplicate_tag={"count": 1})
    town.vast.launch(order)
    town.clock.sleep(10)
    assert len(town.vast.tagged(TAG)) == 2


@pytest.mark.parametrize("knob", ["read__5xx", "read__429", "read__drop", "show_fails_after_create"])
def test_reads_are_repeated(town: Town, knob: str):
    made = town.vast.launch(town.order())
    town.clock.sleep(30)
    town.fault(**{knob: {"count": 2}})
    found = town.vast.instance(made.id)
    assert found is not None and found.id == made.id
    assert len(town.vast.instances()) == 1


def test_one_that_vanished_is_gone(town: Town):
    made = town.vast.launch(town.order())
    town.until(made.id, State.RUNNING)
    town.clock.sleep(180)
    town.fault(vanish={"count": 1})
    assert town.vast.instances() == []
    assert town.vast.instance(made.id) is None


def test_a_spent_quota_is_told_and_not_asked_again(town: Town):
    town.fault(search_quota={"count": 1})
    with pytest.raises(Throttled):
        town.offer()
    assert len(town.site.log.rows) == 1


def test_more_machines_than_a_page_are_listed_once_each(town: Town):
    tags = []
    for each in town.vast.offers(Question(), SEEN).offers:
        tag = f"{TAG}-{len(tags)}"
        town.fault(list__duplicate_tag={"count": 1})  # each order is two machines
        try:
            town.vast.launch(Order(tag, each, container(secrets={}), Decimal(500)))
            tags += [tag, tag]
        except NotCreated as refused:
            assert refused.because is Because.CAPACITY
    town.clock.sleep(30)
    assert len(tags) > 25, "the simulated market is too small for two pages"
    assert sorted(each.tag for each in town.vast.instances()) == sorted(tags)
    assert len(town.vast.tagged(tags[0])) == 2


def test_the_charges_are_what_the_machine_has_cost(town: Town):
    made = town.vast.launch(town.order())
    town.until(made.id, State.RUNNING)
    begun = town.clock.now()
    town.clock.sleep(6 * 3600)
    found = town.vast.instance(made.id)
    assert found is not None and found.usd_hour is not None
    town.vast.terminate(made.id)
    town.clock.sleep(600)
    bill = town.vast.billed(made.id, begun, town.clock.now())
    assert bill is not None and float(bill.usd) == pytest.approx(float(found.usd_hour) * 6, rel=0.05)
    assert town.vast.billed("1", begun, town.clock.now()) is None


def test_a_volume_that_exists_is_attached_on_its_machine_and_outlives_the_rental(town: Town):
    [volume, *_] = town.post("/api/v0/volumes/search/", {"cuda_max_good": {"gte": 12.8}, "order": [["id", "asc"]]})[
        "offers"
    ]
    town.put("/api/v0/volumes/", {"id": volume["id"], "size": 20})
    [kept] = town.vast.volumes()
    assert (kept.gb, kept.machine) == (20, str(volume["machine_id"]))
    asked = Question(spot=False, min_reliability=0.0, counts=(1, 2, 4, 8), machine=kept.machine)
    offers = town.vast.offers(asked, SEEN).offers
    assert offers and {one.machine for one in offers} == {kept.machine}
    box = container(volume=kept.id, mount="/workspace")
    made = town.vast.launch(Order(TAG, offers[0], box, Decimal(99), None, town.vast.ensure_template(box)))
    town.clock.sleep(60)
    [row] = town.get("/api/v0/volumes/")["volumes"]
    assert row["instances"] == [{"id": int(made.id)}]
    town.vast.terminate(made.id)
    assert [one.id for one in town.vast.volumes()] == [kept.id]


def test_a_volume_of_another_machine_is_refused(town: Town):
    order = town.order()
    [volume, *_] = [
        row
        for row in town.post("/api/v0/volumes/search/", {})["offers"]
        if str(row["machine_id"]) != order.offer.machine
    ]
    name = town.put("/api/v0/volumes/", {"id": volume["id"], "size": 20})["volume_name"]
    with pytest.raises(NotCreated):
        town.vast.launch(replace(order, container=container(volume=name.removeprefix("V."))))
    town.clock.sleep(60)
    assert town.vast.instances() == []
