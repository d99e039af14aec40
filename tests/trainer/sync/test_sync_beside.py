"""The sync process as a training sees it: it is there, comes back, ends when asked, and never troubles the training."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.trainer.sync.making import damage, names, save, shown, start
from tests.trainer.sync.test_sync_process import LONG, SIZE, ended, there_now, until
from trainer.sync import beside
from trainer.sync.beside import Beside


@pytest.fixture
def there(tmp_path):
    return tmp_path / "there"


@pytest.fixture
def sync(tmp_path, there, environment, monkeypatch):
    """One beside tmp_path/run; its lines for people are in sync.said."""
    monkeypatch.setattr(beside, "AGAIN", 0.1)
    monkeypatch.setenv("HOME", environment["HOME"])
    said: list[str] = []
    with Beside(start(tmp_path / "run", 10), f"file://{there}", every=3600.0, say=said.append) as made:
        made.said = said
        yield made
        made._stop()


def test_it_sends_what_the_training_saves_and_at_the_end_says_that_all_is_there(tmp_path, sync, there):
    until(lambda: there_now(tmp_path) == names(10))
    save(tmp_path / "run", 20)
    assert sync.finish(LONG)
    assert shown(there) == dict.fromkeys(names(10, 20)) and sync.pid is None and sync.said == []


@pytest.mark.slow
def test_a_finish_right_after_the_start_sends_all_the_same(sync, there):
    assert sync.finish(LONG) and shown(there) == dict.fromkeys(names(10))


@pytest.mark.slow
def test_one_that_dies_is_started_again_and_told_of(tmp_path, sync):
    until(lambda: there_now(tmp_path) == names(10))
    first = sync.pid
    os.kill(first, signal.SIGKILL)
    save(tmp_path / "run", 20)

    def back() -> bool:
        sync.check()
        return there_now(tmp_path) == names(20, 10)

    until(back)
    assert sync.pid not in (None, first)
    assert sync.said[0].startswith("WARNING: the sync process ended (exit code -9)")


@pytest.mark.slow
def test_one_that_cannot_even_start_is_tried_more_and_more_slowly_and_says_why(tmp_path, environment, monkeypatch):
    monkeypatch.setattr(beside, "AGAIN", 0.1)
    said: list[str] = []
    with Beside(start(tmp_path / "run", 10), "nonsense://x", say=said.append) as sync:
        until(lambda: sync.check() or said)
        assert "exit code 2" in said[0] and "nonsense:// is no kind of store" in said[0]
        assert not sync.finish(0.5)


def test_a_finish_takes_no_longer_than_it_may(tmp_path, there):
    run = start(tmp_path / "run", 10, size=SIZE)
    with Beside(run, f"file://{there}", rate=0.05) as sync:
        begin = time.monotonic()
        assert not sync.finish(2.0)
        assert time.monotonic() - begin < LONG / 2
    assert sync.pid is None and shown(there) == {}


@pytest.mark.slow
def test_what_can_never_be_sent_does_not_hold_the_end_up(tmp_path, sync):
    until(lambda: there_now(tmp_path) == names(10))
    damage(save(tmp_path / "run", 20))
    assert not sync.finish(3600.0)


@pytest.mark.slow
def test_a_training_that_is_killed_leaves_a_last_pass_behind(tmp_path, there, environment):
    run = start(tmp_path / "run", 10)
    code = (
        "import sys, time; from trainer.sync.beside import Beside\n"
        f"with Beside({str(run)!r}, 'file://{there}', every=3600.0) as sync:\n"
        "    print(sync.pid, flush=True); time.sleep(999)"
    )
    training = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    until(lambda: there_now(tmp_path) == names(10))
    training.kill()
    save(run, 20)
    output, _ = training.communicate(timeout=LONG)  # nobody but the training had its output open
    assert ended(training) == -9
    until(lambda: there_now(tmp_path) == names(20, 10))
    until(lambda: not os.path.exists(f"/proc/{int(output)}"))  # noqa: PTH110


def test_one_that_is_left_stops_sending_and_the_next_sync_may_begin_at_once(tmp_path, there):
    run = start(tmp_path / "run", 10, size=SIZE)
    with Beside(run, f"file://{there}", every=3600.0, rate=0.05) as sync:
        until(lambda: any(there.rglob("*.stoker-partial")))
        process, answers = sync.pid, []
        finishing = threading.Thread(target=lambda: answers.append(sync.finish(LONG)))
        finishing.start()
        sync.leave()
        finishing.join(LONG)
    assert answers == [False] and sync.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
