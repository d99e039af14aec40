"""`status` asks each provider once, tells what it cannot know, and ends nothing; `terminate` ends until it is seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from fleet.deploy.ending import kept_secrets, listed, refuse_left, silent, strays, terminate, the_machine
from fleet.deploy.names import run_name
from fleet.deploy.status import status
from fleet.deploy.waiting import ready, until_it_trains
from fleet.ledger.ledger import Ledger
from fleet.ledger.tags import fresh
from fleet.ledger.values import Limits, Run
from fleet.providers.values import Instance, Ssh, State, Volume
from profiles.errors import OutsideFailed, Refused, WrongInput
from tests.fleet.deploy.shelf import Stall, Tick, an_offer

STEP = '{"event": "step", "step": 7, "loss": 2.5, "tokens_per_s": 1000, "time": 1790000000}'


def rented(ledger: Ledger, provider: Stall, run: str = "night") -> Instance:
    """A machine of a run, as a finished launch leaves it."""
    ledger.add_run(Run(run, "h100-fp8", "x@sha256:1", limits=Limits(usd=Decimal(100))))
    wish, tag, offer = ledger.wish(run, "deploy"), fresh(ledger.id, run), an_offer(provider=provider.name)
    ledger.intend(wish, tag, provider.name, offer, Decimal(16), Decimal(20), "digest")
    ledger.sent(tag)
    made = Instance(provider.name, "m1", tag, State.RUNNING, "running", Decimal(16), gpu="h100-sxm", gpus=8)
    provider.machines["m1"] = made
    ledger.created(tag, made)
    ledger.close(wish, "m1", met=True)
    ledger.saw(provider.name, [made], ledger.now(), complete=True)
    return made


def test_a_row_has_state_price_spent_left_and_the_last_step(ledger: Ledger, clock: Tick):
    vast = Stall(output=["noise", STEP, '{"event": "save", "step": 5}'])
    rented(ledger, vast)
    clock.sleep(1800)
    [row] = status(ledger, {"vast": vast}, clock).rows
    assert (row.run, row.state, row.id, row.gpu) == ("night", "running", "m1", "8 x h100-sxm")
    assert (row.usd_hour, row.spent, row.left) == (Decimal(16), Decimal(8), Decimal(92))
    assert (row.signs.step, row.signs.saved, row.since) == (7, 5, timedelta(minutes=30))


def test_ten_who_watch_ask_once(ledger: Ledger, clock: Tick):
    class Counting(Stall):
        lists = 0

        def instances(self) -> list[Instance]:
            self.lists += 1
            return super().instances()

    vast = Counting()
    rented(ledger, vast)
    clock.sleep(60)
    for _ in range(10):
        status(ledger, {"vast": vast}, clock, output=False)
    assert vast.lists == 1


def test_a_provider_that_is_down_is_a_warning_and_its_machines_stay_as_last_seen(ledger: Ledger, clock: Tick):
    vast, runpod = Stall("vast"), Stall("runpod", down=True)
    rented(ledger, vast, "here")
    rented(ledger, runpod, "there")
    clock.sleep(60)
    found = status(ledger, {"vast": vast, "runpod": runpod}, clock)
    states = {row.run: row.state for row in found.rows}
    assert states == {"here": "running", "there": "no answer"}
    assert "runpod: 503" in found.failures["runpod"]
    assert found.spending == Decimal(32)


def test_machines_of_others_are_told_and_no_more(ledger: Ledger, clock: Tick):
    vast = Stall()
    vast.machines["x"] = Instance("vast", "x", "somebody-s", State.RUNNING)
    found = status(ledger, {"vast": vast}, clock)
    assert [one.id for one in found.foreign] == ["x"] and not found.rows and not vast.ended


def test_terminate_ends_and_sees_that_nothing_is_left_and_a_second_time_is_no_failure(ledger: Ledger, clock: Tick):
    vast = Stall()
    rented(ledger, vast)
    [row] = terminate(ledger, ["night"], {"vast": vast}, clock)
    assert row.done and vast.ended == ["m1"] and not ledger.live()
    assert ledger.run("night").state == "ended"
    [again] = terminate(ledger, ["night"], {"vast": vast}, clock)
    assert again.done and "nothing to end" in again.words and vast.ended == ["m1"]


def test_a_machine_that_cannot_be_proven_gone_is_loud_and_stays_known(ledger: Ledger, clock: Tick):
    vast = Stall()
    rented(ledger, vast)
    vast.down = True
    rows = terminate(ledger, ["night"], {"vast": vast}, clock)
    assert not rows[0].done and ledger.run("night").state == "ended" and ledger.live()
    assert [row.id for row in status(ledger, {"vast": vast}, clock, output=False).rows] == ["m1"]
    with pytest.raises(OutsideFailed, match="may still bill"):
        refuse_left(rows)
    [without_key] = terminate(ledger, ["night"], {}, clock)
    assert not without_key.done and "no key for vast" in without_key.words
    vast.down = False
    assert [row.done for row in terminate(ledger, ["night"], {"vast": vast}, clock)] == [True] and not ledger.live()


def test_terminate_tells_which_tokens_stay_where_and_not_their_values(ledger: Ledger, clock: Tick):
    vast, runpod = Stall("vast", lacks={"forget": "stays there"}), Stall("runpod")
    rented(ledger, vast, "a")
    rented(ledger, runpod, "b")
    for run in ("a", "b"):
        ledger.change_run(run, plan={"container": {"secrets": ["HF_TOKEN"]}})
    assert kept_secrets(ledger, ["a", "b"], {"vast": vast, "runpod": runpod}) == ["HF_TOKEN stays there"]
    in_the_open = Stall("vast", lacks={"forget": "stays there", "secrets": "no store"})
    assert kept_secrets(ledger, ["a"], {"vast": in_the_open}) == []


def test_outputs_are_read_side_by_side_and_for_a_bounded_time(ledger: Ledger, clock: Tick, monkeypatch):
    both = threading.Barrier(3, timeout=20)

    class Slow(Stall):
        def logs(self, id: str, tail: int = 100, follow: bool = False) -> Iterator[str]:
            if self.silent:
                threading.Event().wait(5)
            else:
                both.wait()  # one after the other they would wait here for ever
            yield from super().logs(id, tail, follow)

        silent = False

    there = {name: Slow(name, output=[STEP]) for name in ("vast", "runpod", "hyperbolic")}
    for name, one in there.items():
        rented(ledger, one, name)
    assert [row.signs.step for row in status(ledger, there, clock).rows] == [7, 7, 7]
    Slow.silent = True
    monkeypatch.setattr("fleet.deploy.status.OUTPUTS", 0.1)
    begun = time.monotonic()
    assert [row.signs.step for row in status(ledger, there, clock).rows] == [None, None, None]
    assert time.monotonic() - begun < 5


def test_one_that_fails_costs_no_other(ledger: Ledger, clock: Tick):
    vast, runpod = Stall("vast"), Stall("runpod")
    rented(ledger, vast, "a")
    rented(ledger, runpod, "b")
    vast.down = True
    rows = {row.run: row.done for row in terminate(ledger, ["a", "b"], {"vast": vast, "runpod": runpod}, clock)}
    assert rows == {"a": False, "b": True} and runpod.ended == ["m1"]


def test_a_run_is_named_by_its_profile_and_a_number_never_beside_an_open_one(ledger: Ledger, clock: Tick):
    assert run_name(ledger, "", "h100 fp8") == "h100-fp8"
    vast = Stall()
    rented(ledger, vast, "h100-fp8")
    with pytest.raises(Refused, match="runs already: vast m1"):
        run_name(ledger, "", "h100-fp8")
    terminate(ledger, ["h100-fp8"], {"vast": vast}, clock)
    assert run_name(ledger, "", "h100-fp8") == "h100-fp8-2"
    with pytest.raises(Refused, match="there was a run `h100-fp8` already"):
        run_name(ledger, "h100-fp8", "x")


def test_a_run_that_lost_its_machine_is_for_resume(ledger: Ledger, clock: Tick):
    vast = Stall()
    rented(ledger, vast)
    ledger.end("vast", "m1", "preempted")
    with pytest.raises(Refused, match="has lost its machine"):
        run_name(ledger, "night", "x")
    with pytest.raises(WrongInput, match="has no machine now"):
        the_machine(ledger, "night")


def test_a_machine_is_ready_when_something_of_ours_answers_there():
    made = Instance("vast", "m1", "t", State.STARTING, "loading", words="pulling layer 3/9")
    vast = Stall(machines={"m1": made})
    assert ready(vast, made) == "pulling layer 3/9"
    running = replace(made, state=State.RUNNING)
    assert ready(vast, running) == "no shell and no output yet"
    vast.output = ["some line of the provider's own"]
    assert ready(vast, running) == "no shell and no output yet"
    vast.output = ["run: run folder /workspace/runs/x, newest step here none"]
    assert ready(vast, running) == ""
    closed = Stall(machines={"m1": running}, shell=Ssh("127.0.0.1", 9))
    assert ready(closed, running) == "its shell does not answer yet"


@pytest.mark.parametrize(
    ("output", "state", "why"),
    [
        ([STEP], State.RUNNING, ""),
        (['{"event": "stop", "reason": "error"}'], State.RUNNING, "it stopped before its first step: error"),
        ([], State.FAILED, "the machine is failed"),
        ([], State.RUNNING, "no step within 40 minutes"),
    ],
)
def test_waiting_for_the_first_step_ends_in_one_of_these_ways(output: list[str], state: State, why: str):
    made = Instance("vast", "m1", "t", state)
    vast = Stall(output=output, machines={"m1": made})
    _, told = until_it_trains(vast, made, Tick(), lambda _: None)
    assert told.startswith(why) and bool(told) == bool(why)


def test_a_machine_that_vanishes_while_it_is_awaited_is_told():
    vast = Stall(machines={})
    _, told = until_it_trains(vast, Instance("vast", "m1", "t", State.RUNNING), Tick(), lambda _: None)
    assert told == "the machine is gone"


def stray(ledger: Ledger, provider: Stall, id: str = "lost") -> None:
    """A machine with this ledger's tag, of which the ledger knows nothing."""
    provider.machines[id] = Instance(provider.name, id, fresh(ledger.id, "before"), State.RUNNING)


def test_a_machine_of_ours_without_a_run_is_found_and_ended_and_others_are_not_touched(ledger: Ledger, clock: Tick):
    vast = Stall()
    stray(ledger, vast)
    vast.machines["x"] = Instance("vast", "x", "somebody-s", State.RUNNING)
    assert listed(ledger, {"vast": vast}) == {}
    [row] = strays(ledger, {"vast": vast}, clock)
    assert (row.run, row.id, row.done) == ("", "lost", True) and row.words.startswith("gone")
    assert vast.ended == ["lost"] and not ledger.live()
    assert strays(ledger, {"vast": vast}, clock) == []


def test_one_without_a_run_that_is_not_proven_gone_may_still_bill(ledger: Ledger, clock: Tick):
    vast = Stall()
    stray(ledger, vast)
    listed(ledger, {"vast": vast})
    vast.down = True
    rows = strays(ledger, {"vast": vast}, clock)
    assert [row.done for row in rows] == [False] and ledger.live()
    with pytest.raises(OutsideFailed, match="1 of 1 may still bill: vast lost: "):
        refuse_left(rows)


def test_machines_at_a_provider_that_does_not_answer_are_not_taken_for_none(ledger: Ledger):
    [row] = silent(listed(ledger, {"vast": Stall(down=True), "runpod": Stall("runpod")}), [])
    assert (row.provider, row.done) == ("vast", False)
    with pytest.raises(OutsideFailed, match="may still bill: vast: whether machines of ours live there is not known"):
        refuse_left([row])
    assert silent({"vast": "503"}, [row]) == []


def test_storage_that_bills_is_told_by_provider_with_what_it_costs(ledger: Ledger, clock: Tick):
    two = [
        Volume("runpod", "a", "a", 100, usd_month=Decimal(7)),
        Volume("runpod", "b", "b", 200, usd_month=Decimal(14)),
    ]
    there = {
        "runpod": Stall("runpod", stored=two),
        "vast": Stall(stored=[Volume("vast", "1", "V.1", 0)]),
        "hyperbolic": Stall("hyperbolic", stored=None),
        "local": Stall("local", stored=[Volume("local", "n", "n", 0, usd_month=Decimal(0))]),
    }
    found = status(ledger, there, clock).storage
    assert found is not None
    assert [(row.provider, row.words) for row in found.rows] == [
        ("runpod", "2 volumes, 300 GB, 21.00 USD/month"),
        ("vast", "1 volume, a size it does not tell, at a price it does not tell"),
    ]
    assert found.failures == {} and [row["usd_month"] for row in found.to_json()] == ["21", None]


def test_storage_of_a_provider_that_does_not_answer_is_not_known(ledger: Ledger, clock: Tick):
    class Shut(Stall):
        def volumes(self) -> list[Volume]:
            raise OutsideFailed("vast: 500", "ask again later")

    there = {"vast": Shut(), "runpod": Stall("runpod", down=True)}
    found = status(ledger, there, clock)
    assert found.storage is not None and set(found.storage.failures) == {"vast", "runpod"}
    assert any(line.startswith("vast: what storage bills is not known: vast: 500") for line in found.storage.lines())
    assert [(row["provider"], bool(row["failed"])) for row in found.to_json()["storage"]] == [
        ("runpod", True),
        ("vast", True),
    ]
    assert status(ledger, there, clock, output=False).storage is None
