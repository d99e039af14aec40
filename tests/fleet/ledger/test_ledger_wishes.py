"""One open wish per run, one attempt per wish that may bill; a dead holder is followed, a living one respected."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from fleet.ledger import tags
from fleet.ledger.ledger import Ledger
from fleet.ledger.opening import open_ledger
from fleet.ledger.values import ABSENT, CREATED, GONE, Limits, Run
from fleet.providers.values import Ssh
from profiles.errors import Refused, WrongInput
from tests.fleet.ledger.conftest import HandClock
from tests.fleet.ledger.ledger_rows import OFFER, machine, sent, wished

ROOT = Path(__file__).parents[3]
HOLD = (
    "import sys; from pathlib import Path; from fleet.clock import WallClock;"
    "from fleet.ledger.opening import open_ledger;"
    "l = open_ledger(Path(sys.argv[1]), WallClock()); l.wish('night', 'deploy'); print('held', flush=True);"
    "sys.stdin.read()"
)


def test_a_run_is_kept_with_its_limits_and_its_name_is_taken(ledger: Ledger):
    run = Run(
        "night", "h100", "r/t@sha256:1", {"disk_gb": 80}, Limits(Decimal("20.5"), None, 12.0, 15.0), "any", "s3://b"
    )
    kept = ledger.add_run(run)
    assert (kept.limits, kept.plan, kept.policy) == (run.limits, run.plan, "any")
    with pytest.raises(Refused, match="there is a run"):
        ledger.add_run(run)
    with pytest.raises(WrongInput, match="no run `nigt`") as failure:
        ledger.run("nigt")
    assert "night" in failure.value.next_step


@pytest.mark.parametrize("limits", [Limits(usd=Decimal(-1)), Limits(usd=Decimal("NaN")), Limits(hours=float("nan"))])
def test_what_is_no_limit_is_refused(ledger: Ledger, limits: Limits):
    with pytest.raises(WrongInput, match="a limit is wrong"):
        ledger.add_run(Run("night", limits=limits))


def test_a_second_process_is_told_who_holds_the_run_until_that_one_dies(tmp_path: Path, hand: HandClock):
    with open_ledger(tmp_path, hand) as ledger:
        ledger.add_run(Run("night"))
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Refused, match=f"process {holder.pid}"):
            ledger.wish("night", "deploy")
        assert ledger.held_by("night") == f"process {holder.pid}"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
        assert ledger.held_by("night") == ""
        wish = ledger.wish("night", "deploy")
        assert len(ledger.wishes("night")) == 1
        assert "taken-over" in [event.kind for event in ledger.events("night")]
        ledger.close(wish, "done", True)
        assert ledger.wish("night", "resume").id == wish.id + 1


def test_without_locks_the_file_itself_refuses_a_second_open_wish(tmp_path: Path, hand: HandClock, monkeypatch):
    with open_ledger(tmp_path, hand) as first, open_ledger(tmp_path, hand) as second:
        for ledger in (first, second):
            monkeypatch.setattr(ledger.locks, "take", lambda run: None)
        wished(first)
        monkeypatch.setattr(second, "open_wish", lambda run: None)  # it looked before the other one wrote
        with pytest.raises(Refused, match="another process"):
            second.wish("night", "deploy")


def test_the_same_process_gets_no_second_wish_either(ledger: Ledger):
    wished(ledger)
    with pytest.raises(Refused, match="this very process"):
        ledger.wish("night", "deploy")


def test_one_attempt_at_a_time_may_bill(ledger: Ledger):
    wish = wished(ledger)
    tag = sent(ledger, wish)
    with pytest.raises(Refused, match="may still have made a machine"):
        sent(ledger, wish)
    ledger.unclear(tag, "lost")
    with pytest.raises(Refused):
        sent(ledger, wish)
    ledger.absent(tag, "looked")
    second = sent(ledger, wish)
    ledger.created(second, machine(second))
    with pytest.raises(Refused):
        sent(ledger, wish)
    ledger.end("vast", "1", "x")
    assert [attempt.state for attempt in ledger.attempts()] == [ABSENT, GONE]
    sent(ledger, wish)


def test_nothing_is_intended_for_a_run_that_is_over_or_a_wish_that_is_closed(ledger: Ledger):
    wish = wished(ledger)
    ledger.set_state("night", "ended", "by the user")
    with pytest.raises(Refused, match="ended"):
        sent(ledger, wish)
    ledger.set_state("night", "open")
    ledger.close(wish, "enough", False)
    with pytest.raises(Refused, match="closed"):
        sent(ledger, wish)


def test_what_is_known_is_not_unlearned(ledger: Ledger, hand: HandClock):
    tag = sent(ledger, wished(ledger))
    ledger.saw("vast", [machine(tag)], hand.now(), True)  # another process lists while the answer is on its way
    ledger.unclear(tag, "lost")
    ledger.absent(tag, "too late")
    attempt = ledger.attempt(tag)
    assert attempt is not None
    assert (attempt.state, attempt.instance, attempt.offer) == (CREATED, "1", OFFER)


def test_a_machine_of_an_old_tag_is_known_and_counted_and_told(ledger: Ledger, hand: HandClock):
    tag = sent(ledger, wished(ledger))
    ledger.absent(tag, "looked")
    hand.sleep(3600)
    ledger.saw("vast", [machine(tag)], hand.now(), True)
    assert [known.run for known in ledger.live()] == ["night"]
    assert ledger.cost("night") == 2
    assert "late" in [event.kind for event in ledger.events("night")]


def test_a_list_that_is_not_whole_makes_nothing_missed(ledger: Ledger, hand: HandClock):
    tag = sent(ledger, wished(ledger))
    ledger.created(tag, machine(tag))
    hand.sleep(3600)
    ledger.saw("vast", [], hand.now(), False)
    assert ledger.live()[0].missed == 0
    ledger.saw("runpod", [], hand.now(), True)
    assert ledger.live()[0].missed == 0
    ledger.saw("vast", [], hand.now(), True)
    ledger.saw("vast", [], hand.now(), True)
    assert (ledger.live()[0].missed, ledger.live()[0].missed_since) == (2, hand.now())
    ledger.saw("vast", [machine(tag)], hand.now(), True)
    assert ledger.live()[0].missed == 0


def test_a_list_that_is_older_than_the_machine_or_its_end_says_nothing_of_it(ledger: Ledger, hand: HandClock):
    asked = hand.now()
    hand.sleep(20)
    tag = sent(ledger, wished(ledger))
    ledger.created(tag, machine(tag))
    ledger.saw("vast", [], asked, True)
    assert ledger.live()[0].missed == 0
    asked = hand.now()
    hand.sleep(20)
    ledger.end("vast", "1", "proven")
    ledger.saw("vast", [machine(tag)], asked, True)
    assert ledger.live() == []


def test_a_snapshot_is_the_last_whole_list_with_strangers_and_without_secrets(ledger: Ledger, hand: HandClock):
    assert ledger.snapshot("vast") is None
    there = machine("notebook", "9", ssh=Ssh("h", 22, "root"), env={"STOKER_RUN": "x", "HF_TOKEN": "hf_secret"})
    ledger.saw("vast", [there], hand.now(), True)
    snapshot = ledger.snapshot("vast")
    assert snapshot is not None
    assert (snapshot.at, snapshot.instances[0].ssh) == (hand.now(), Ssh("h", 22, "root"))
    assert "hf_secret" not in ledger.export() + str(dict(ledger._all("SELECT * FROM snapshots")[0]))
    assert ledger.live() == []


def test_events_checkpoints_and_bad_machines_are_kept(ledger: Ledger, hand: HandClock):
    ledger.tell("night", "a", "first")
    ledger.tell("day", "b", "second")
    assert [event.kind for event in ledger.events("night")] == ["a"]
    assert [event.kind for event in ledger.events(last=1)] == ["b"]
    for step in (10, 30, 20, 30):
        ledger.checkpoint("night", step, f"s3://b/{step}", "d")
    assert [each.step for each in ledger.checkpoints("night")] == [30, 20, 10]
    ledger.bad_machine("vast", "host-1", "never ready", hand.now().replace(hour=12))
    ledger.bad_machine("vast", "", "no machine", hand.now().replace(hour=12))
    assert [bad.machine for bad in ledger.bad_machines("vast")] == ["host-1"]
    hand.sleep(3 * 3600)
    assert ledger.bad_machines("vast") == []


def test_it_is_exported_as_json_and_csv(ledger: Ledger, hand: HandClock):
    tag = sent(ledger, wished(ledger))
    ledger.created(tag, machine(tag))
    ledger.tell("night", "note", "=HYPERLINK(1)")
    hand.sleep(3600)
    whole = json.loads(ledger.export())
    assert whole["attempts"][0]["most_usd_hour"] == "5"
    assert whole["costs"] == [{"run": "night", "usd": "2"}]
    assert "'=HYPERLINK" in ledger.export("events", "csv")
    assert ledger.export("costs", "csv") == "run,usd\nnight,2\n"
    assert ledger.export("checkpoints", "csv") == ""
    for what, form in (("event", "json"), ("all", "csv"), ("runs", "xml")):
        with pytest.raises(WrongInput):
            ledger.export(what, form)


@pytest.mark.parametrize("run", ["night", "A Very Long Name, with (odd) letters", "---", "ü", "x" * 80])
def test_a_tag_is_short_plain_fresh_and_says_whose_it_is(run: str):
    tag, other = tags.fresh("ab12", run), tags.fresh("ab12", run)
    assert tag != other
    assert len(tag) <= 40
    assert set(tag) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    found = tags.read(tag)
    assert found is not None
    assert (found.ledger, str(found)) == ("ab12", tag)


@pytest.mark.parametrize(
    "text", ["", "notebook", "stk-ab12-night", "stk-ab12-night-1234567", "stk-abc-n-12345678", "stk-ab12--12345678"]
)
def test_other_names_are_no_tags(text: str):
    assert tags.read(text) is None
