"""The parts of a transfer: its rate, its pauses, its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.sim.faulty_store import FaultyStore
from tests.trainer.sync.making import start
from trainer.errors import OUTSIDE_FAILED, REFUSED, TrainerError
from trainer.stores.file import Folder
from trainer.stores.store import StoreError
from trainer.sync import attend
from trainer.sync.alive import Life
from trainer.sync.fetching import fetched
from trainer.sync.kinship import related
from trainer.sync.pace import Pace
from trainer.sync.patience import Patience, patiently
from trainer.sync.push import push


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_rate_is_held_whatever_the_size_of_the_pieces():
    for piece in (10, 1000, 50_000):
        clock = Clock()
        pace = Pace(10_000, clock=clock, sleep=clock.sleep)
        for _ in range(200_000 // piece):
            pace(piece)
        assert 19 <= clock.now - 100 <= 21 and pace.bytes == 200_000


def test_a_pause_is_not_saved_up_for_a_burst_later():
    clock = Clock()
    pace = Pace(10_000, clock=clock, sleep=clock.sleep)
    clock.sleep(3600)
    before = clock.now
    for _ in range(10):
        pace(10_000)
    assert clock.now - before >= 8.9


def test_a_transfer_that_is_held_back_gives_signs_of_life():
    clock, signs = Clock(), []
    Pace(100, signs.append, clock, clock.sleep)(1000)
    assert signs[0] == 1000 and len(signs) >= 9 * 2 and set(signs[1:]) == {0}


def test_no_limit_is_no_wait():
    clock = Clock()
    Pace(0, clock=clock, sleep=clock.sleep)(10**12)
    assert clock.now == 100


def test_pauses_double_up_to_a_limit_and_are_never_shorter_than_the_server_asks():
    patience = Patience(first=1, most=60, slow=300)
    for failed, middle in ((1, 1), (2, 2), (5, 16), (7, 60), (500, 60)):
        pauses = [patience.pause(failed) for _ in range(50)]
        assert middle / 2 <= min(pauses) < max(pauses) <= middle * 1.5
    assert patience.pause(1, after=90) == 90
    assert patience.pause(1, transient=False) >= 150


def test_what_makes_progress_is_never_given_up_and_what_makes_none_is():
    progress, waits = [0], []

    def act() -> str:
        progress[0] += 1
        if progress[0] < 20:
            raise StoreError("cut")
        return "done"

    assert patiently("x", act, Patience(tries=3), lambda _: None, lambda: progress[0], waits.append) == "done"
    assert len(waits) == 19
    waits.clear()
    progress[0] = 0
    with pytest.raises(StoreError):
        patiently("x", act, Patience(tries=3), lambda _: None, lambda: 0, waits.append)
    assert len(waits) == 2


def test_what_cannot_be_mended_by_waiting_is_not_waited_for():
    def act() -> None:
        raise StoreError("bad token", transient=False)

    with pytest.raises(StoreError):
        patiently("x", act, Patience(), lambda _: None, sleep=lambda _: pytest.fail("waited"))


def test_a_process_tells_its_news_and_its_end():
    heard = []

    def act(voice: attend.Voice) -> dict[str, int]:
        voice.moved(5)
        voice.say("hello")
        voice.moved(7)
        voice.tell(expect=1)
        return {"pid": os.getpid()}

    ended = attend.attended(act, 60, heard.append)
    assert ended.what is None and ended.value["pid"] != os.getpid()
    assert sum(news.get("moved", 0) for news in heard) == 12 and {"say": "hello"} in heard


def test_errors_keep_their_words_and_meaning():
    def fail(error: Exception):
        def act(voice: attend.Voice) -> None:
            raise error

        return attend.attended(act, 60, lambda _: None)

    ended = fail(StoreError("429", "wait", after=7.0))
    assert (ended.what, ended.next_step, ended.transient, ended.after) == ("429", "wait", True, 7.0)
    ended = fail(TrainerError("no", "ask", REFUSED))
    assert (ended.what, ended.exit_code, ended.transient) == ("no", REFUSED, False)
    ended = fail(ValueError("at https://me:pw@host/x?X-Amz-Signature=abc"))
    assert "ValueError" in ended.what and "pw" not in ended.what and "abc" not in ended.what


def test_one_that_is_killed_or_silent_ends_all_the_same():
    ended = attend.attended(lambda _: os.kill(os.getpid(), signal.SIGKILL), 60, lambda _: None)
    assert "signal 9" in ended.what and ended.broken and ended.transient
    begin = time.monotonic()
    ended = attend.attended(lambda _: time.sleep(3600), 0.5, lambda _: None)
    assert "nothing moved" in ended.what and ended.broken and time.monotonic() - begin < 60


def test_what_a_stuck_process_had_started_is_ended_with_it(tmp_path):
    def act(voice: attend.Voice) -> None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
        (tmp_path / "pid").write_text(str(child.pid))
        time.sleep(3600)

    attend.attended(act, 2.0, lambda _: None)
    life = Life(int((tmp_path / "pid").read_text()))
    deadline = time.monotonic() + 60
    while not life.over():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_transfer_dies_with_the_process_that_attends_it(tmp_path):
    code = (
        "import os, sys, time; from trainer.sync import attend\n"
        "def act(voice):\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(3600)\n"
        "attend.attended(act, 3600, print)"
    )
    attending = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    life = Life(int(attending.stdout.readline()))
    assert not life.over()
    attending.kill()
    attending.communicate()
    deadline = time.monotonic() + 60
    while not life.over():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_pull_that_is_stuck_is_ended_and_goes_on_where_it_was(tmp_path):
    url = f"file://{tmp_path}/there"
    push(start(tmp_path / "sent", 10), Folder(url), lambda _: None, lambda _: None)
    tries = tmp_path / "tries"
    tries.mkdir()

    def opened(url: str) -> FaultyStore:
        (tries / str(len(list(tries.iterdir())))).touch()
        faults = [["ok"] * 5 + ["stall"], ["stall"]]
        return FaultyStore(Folder(url), (faults + [[]] * 9)[len(list(tries.iterdir())) - 1])

    said = []
    asked = {"which": "latest", "only": "all", "threads": 1}
    quick = Patience(first=0.01)
    done = fetched(url, tmp_path / "run", asked, 0, 1.0, lambda _: None, said.append, quick, opened)
    assert len(list(tries.iterdir())) == 3 and len(said) == 2 and "nothing moved for 1 s" in said[0]
    assert done["step"] == 10 and done["kept"] > 0 and done["kept"] + done["fetched"] == done["bytes"]


def test_a_pull_that_is_stuck_for_ever_is_given_up(tmp_path):
    start(tmp_path / "sent", 10)
    url = f"file://{tmp_path}/there"
    opened = lambda url: FaultyStore(Folder(url), ["stall"])  # noqa: E731
    asked = {"which": "latest", "only": "all"}
    with pytest.raises(TrainerError, match="nothing moved") as error:
        quick = Patience(first=0.01, tries=2)
        fetched(url, tmp_path / "run", asked, 0, 0.3, lambda _: None, lambda _: None, quick, opened)
    assert error.value.exit_code == OUTSIDE_FAILED


def test_a_life_is_over_when_its_process_is_a_zombie_or_another():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    life = Life(process.pid)
    assert not life.over()
    process.kill()
    deadline = time.monotonic() + 60
    while not life.over():  # nobody has waited for it: it is a zombie
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.wait()
    assert life.over()
    own = Life(os.getpid())
    own._began = "1"  # as if the number had gone to another process
    assert own.over()


def test_runs_are_kin_by_identity_or_by_lineage():
    one = {"sha256": "a", "identity": {"model": 1}}
    assert related([], [one]) and related([one], [])
    assert related([one], [{"sha256": "b", "identity": {"model": 1}}])
    assert not related([one], [{"sha256": "b", "identity": {"model": 2}}])
    assert related([one], [{"sha256": "b", "identity": {"model": 2}, "lineage": {"parent": {"sha256": "a"}}}])
    thinned = {"sha256": "c", "whole": "a", "identity": {"model": 3}}
    assert related([thinned], [{"sha256": "b", "identity": {}, "lineage": {"parent": {"sha256": "a"}}}])
