"""`data prepare`: the same bytes for any number of workers and kills; what is in the way is refused."""

from __future__ import annotations

import pytest

np = pytest.importorskip("numpy")

import json  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import signal  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

from tests.trainer.data.preparing import contents, jsonl, tales, wish  # noqa: E402
from trainer.data.prepare import prepare  # noqa: E402
from trainer.data.show import files, verify  # noqa: E402
from trainer.errors import TrainerError  # noqa: E402


@pytest.fixture
def stories():
    """Documents of some hundred bytes, all different."""
    return tales()


# The same bytes


@pytest.mark.parametrize("tokenizer", ["bytes", pytest.param("chars", marks=pytest.mark.slow)])
def test_the_bytes_do_not_depend_on_the_number_of_workers(stories, corpus, tmp_path, tokenizer):
    sources = [corpus, jsonl(tmp_path / "a.jsonl", stories * 3)]
    for workers in (1, 2):
        prepare(wish(sources, tmp_path / str(workers), tokenizer, val=0.05, workers=workers, shard_tokens=1 << 18))
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_killed_at_any_shard_it_goes_on_to_the_same_bytes(stories, tmp_path, monkeypatch):
    """An exception out of the journal's write stands for a kill: nothing is written after it."""
    from trainer.data.journal import Journal

    for module in ("readers", "block"):
        monkeypatch.setattr(f"trainer.data.{module}.SIZE", 20_000)
    source = jsonl(tmp_path / "a.jsonl", stories)
    asked = {"val": 0.05, "shard_tokens": 1 << 15, "eot": "\n"}
    prepare(wish(source, tmp_path / "whole", **asked))
    add, kills = Journal.add, []

    def killing(journal, entry):
        kills.append(entry)
        if len(kills) % 2:
            add(journal, entry)  # killed after the line, else before it
        raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "add", killing)
    done = None
    while done is None:
        try:
            done = prepare(wish(source, tmp_path / "broken", **asked))
        except TrainerError as stopped:
            assert stopped.exit_code == 75
    assert len(kills) > 20 and done["resumed"]
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_killed_while_the_tail_is_cut_it_goes_on_to_the_same_bytes(corpus, tmp_path, monkeypatch):
    from trainer.data.streams import Streams

    asked = {"val": 0.3, "shard_tokens": 4096}
    prepare(wish(corpus / "hamlet.txt", tmp_path / "whole", **asked))
    recount, close = Streams._recount, Streams.close

    def stop(*_):
        raise KeyboardInterrupt

    for name in ("_recount", "close"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Streams, name, stop)
            with pytest.raises(TrainerError, match="stopped"):
                prepare(wish(corpus / "hamlet.txt", tmp_path / "broken", **asked))
    assert (Streams._recount, Streams.close) == (recount, close)
    prepare(wish(corpus / "hamlet.txt", tmp_path / "broken", **asked))
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_killed_with_sigkill_it_leaves_no_workers_and_goes_on_to_the_same_bytes(
    corpus, gpt2_files, environment, tmp_path
):
    def command(out):
        given = ["prepare", str(corpus), "--out", str(out), "--tokenizer", f"gpt2:{gpt2_files}", "--val", "0.1"]
        return [sys.executable, "-m", "trainer", "data", *given, "--shard-tokens", "128K", "--workers", "2", "--quiet"]

    subprocess.run(command(tmp_path / "whole"), env=environment, check=True, stdout=subprocess.DEVNULL)
    kills = 0
    for shard in range(0, 8, 2):
        running = subprocess.Popen(
            command(tmp_path / "broken"), env=environment, stdout=subprocess.DEVNULL, start_new_session=True
        )
        target = tmp_path / "broken" / f"train-{shard:05d}.bin"
        while running.poll() is None and not target.exists():
            time.sleep(0.01)
        if running.poll() is None:
            os.kill(running.pid, signal.SIGKILL)
            kills += 1
        running.wait()
        _gone(running.pid)
    subprocess.run(command(tmp_path / "broken"), env=environment, check=True, stdout=subprocess.DEVNULL)
    assert kills >= 2
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def _gone(session):
    """No process of the session is left, within seconds."""
    for _ in range(500):
        alive = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                alive.append(stat)
        if not alive:
            return
        time.sleep(0.02)
    raise AssertionError(f"still there: {alive}")


@pytest.mark.slow
def test_ctrl_c_ends_with_75_and_the_same_command_goes_on(corpus, gpt2_files, environment, tmp_path):
    given = ["prepare", str(corpus), "--out", str(tmp_path / "out"), "--tokenizer", f"gpt2:{gpt2_files}"]
    command = [sys.executable, "-m", "trainer", "data", *given, "--shard-tokens", "64K", "--workers", "2"]
    running = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while running.poll() is None and not (tmp_path / "out" / "train-00001.bin").exists():
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    said = running.communicate(timeout=30)[1]
    assert running.returncode == 75
    assert "the same command goes on" in said and "Traceback" not in said
    done = subprocess.run([*command, "--json"], env=environment, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["resumed"]


# What is in the way


def test_the_same_again_is_done_already_and_another_source_is_refused(stories, tmp_path):
    source = jsonl(tmp_path / "a.jsonl", stories)
    other = jsonl(tmp_path / "b.jsonl", stories[:100])
    prepare(wish(source, tmp_path / "out"))
    before = contents(tmp_path / "out")
    assert prepare(wish(source, tmp_path / "out"))["already"]
    for changed in (wish(other, tmp_path / "out"), wish(source, tmp_path / "out", eot="\n")):
        with pytest.raises(TrainerError, match="holds data prepared from other sources") as caught:
            prepare(changed)
        assert caught.value.exit_code == 4
    assert contents(tmp_path / "out") == before
    assert prepare(wish(other, tmp_path / "out", force=True))["documents"] == 100
    assert verify(tmp_path / "out") == []


def test_an_unfinished_preparation_of_another_source_is_refused(stories, tmp_path):
    good, bad = jsonl(tmp_path / "a.jsonl", stories), tmp_path / "c.jsonl"
    bad.write_text("{\n")
    with pytest.raises(TrainerError):
        prepare(wish([good, bad], tmp_path / "out", shard_tokens=1 << 15))
    assert (tmp_path / "out/train-00000.bin").exists(), "work that is worth something"
    with pytest.raises(TrainerError, match="unfinished preparation of other sources"):
        prepare(wish(jsonl(tmp_path / "b.jsonl", stories), tmp_path / "out"))
    prepare(wish(jsonl(tmp_path / "b.jsonl", stories), tmp_path / "out", force=True))
    assert {one.name for one in (tmp_path / "out").iterdir()} == set(files(tmp_path / "out"))


def test_two_at_once_do_not_share_a_folder(stories, tmp_path):
    from trainer.data.claim import Claim

    held = Claim(tmp_path / "out", "a", "a", False)
    with pytest.raises(TrainerError, match="another `data prepare` is writing"):
        prepare(wish(jsonl(tmp_path / "a.jsonl", stories), tmp_path / "out"))
    held.release(False)


def test_a_full_disk_is_said_and_the_same_command_goes_on_when_there_is_room(corpus, environment, tmp_path):
    """A limit on the size of files makes the kernel refuse the write in the middle of a shard."""
    given = ["prepare", str(corpus), "--out", str(tmp_path / "out"), "--tokenizer", "bytes", "--workers", "1"]
    command = [sys.executable, "-m", "trainer", "data", *given, "--val", "0.02"]

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = subprocess.run(command, env=environment, capture_output=True, text=True, preexec_fn=small)
    assert done.returncode == 3
    assert "cannot write" in done.stderr and "make room" in done.stderr and "Traceback" not in done.stderr
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert verify(tmp_path / "out") == []


def test_a_preparation_that_failed_before_its_first_shard_is_in_nobodys_way(stories, tmp_path):
    source = jsonl(tmp_path / "a.jsonl", stories)
    with pytest.raises(TrainerError, match="allows 5"):
        prepare(wish(source, tmp_path / "out", tokenizer="chars", vocab_size=5))
    assert prepare(wish(source, tmp_path / "out", tokenizer="bytes"))["documents"] == len(stories)
    assert verify(tmp_path / "out") == []
