"""The metrics files: what a kill, a crash, a full disk and a jumping clock leave of them."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.metrics.follow import NewLines
from trainer.metrics.log import JsonLines, Words, last_attempt, read

WHOLE = b'{"event": "step", "attempt": 1, "step": 1}\n{"event": "step", "attempt": 1, "step": 2}\n'


@pytest.mark.parametrize(
    "tail",
    [
        b'{"event": "step", "st',
        b'{"event": "step", "text": "' + b"x" * 20_000,
        b"\0" * 9000,
        b'{"event": "st' + b"\0" * 4096,
        b"\0" * 100 + b"\n",
        b"\0\0\n\0\0\n{",
        b'{"cut": 1}',
    ],
    ids=["half a line", "kilobytes", "zero pages", "half and zeros", "zeros and a newline", "several", "no newline"],
)
def test_a_torn_tail_is_cut_at_the_next_start_and_nothing_else(tmp_path, tail):
    path = tmp_path / "m.jsonl"
    path.write_bytes(WHOLE + tail)
    assert [line["step"] for line in read(path)][:2] == [1, 2]
    lines = JsonLines(path)
    assert (lines.cut, lines.attempt) == (len(tail), 2)
    lines.add("step", step=3)
    lines.close()
    assert path.read_bytes().startswith(WHOLE)
    assert [line["step"] for line in read(path)] == [1, 2, 3]


def test_a_file_of_nothing_but_a_torn_line_becomes_an_empty_one(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"event"')
    lines = JsonLines(path)
    assert path.read_bytes() == b""
    assert lines.attempt == 1


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_can_be_read_and_appended_to(tmp_path_factory, content, tail):
    path = tmp_path_factory.mktemp("bytes") / "m.jsonl"
    path.write_bytes(content)
    before = read(path)
    lines = JsonLines(path)
    lines.add("step", step=7)
    lines.close()
    assert read(path)[-1]["step"] == 7
    assert len(read(path)) == len(before) + 1
    assert read(path, tail) == read(path)[len(read(path)) - len(read(path, tail)) :]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1, max_size=8), VALUES, max_size=4))
def test_whatever_is_added_comes_back_as_strict_json(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("values") / "m.jsonl"
    lines = JsonLines(path)
    said = lines.add("step", **{f"_{name}": value for name, value in values.items()})
    lines.close()
    text = path.read_text(encoding="utf-8")
    found = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert found == said
    assert text.count("\n") == 1


def test_numbers_of_torch_and_numpy_are_numbers_and_what_is_not_finite_is_null(tmp_path, torch):
    numpy = pytest.importorskip("numpy")
    lines = JsonLines(tmp_path / "m.jsonl")
    said = lines.add(
        "step", loss=torch.tensor(1.5), norm=numpy.float32(0.5), bad=math.nan, worse=[-math.inf], where=tmp_path
    )
    assert {name: said[name] for name in ("loss", "norm", "bad", "worse")} == {
        "loss": 1.5,
        "norm": 0.5,
        "bad": None,
        "worse": [None],
    }
    assert said["where"] == str(tmp_path)


def test_attempts_are_numbered_across_starts_even_when_the_tail_is_long(tmp_path):
    path = tmp_path / "m.jsonl"
    for number in (1, 2, 3):
        lines = JsonLines(path)
        assert lines.attempt == number
        lines.add("start")
        lines.close()
    with path.open("ab") as stream:
        stream.write(b"no json at all\n" * 20_000)
    assert last_attempt(path) == 3
    assert JsonLines(path).attempt == 4


def test_the_tail_gives_whole_lines_only(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(WHOLE)
    line = len(WHOLE) // 2
    assert [entry["step"] for entry in read(path, line)] == [2]
    assert [entry["step"] for entry in read(path, line + 1)] == [2]
    assert read(path, line - 1) == []
    assert read(tmp_path / "none") == []


KILLED = """
import sys, pathlib
from trainer.metrics.log import JsonLines
lines = JsonLines(pathlib.Path(sys.argv[1]))
print(lines.attempt, flush=True)
step = 0
while True:
    step += 1
    lines.add("step", step=step, filler="x" * 3000)
"""


def test_a_killed_process_loses_no_line_it_had_written(tmp_path, environment):
    path = tmp_path / "m.jsonl"
    for attempt in (1, 2):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path)], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == f"{attempt}\n"
        before = path.stat().st_size
        deadline = time.monotonic() + 20
        while path.stat().st_size < before + 100_000 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        steps = [line["step"] for line in read(path) if line["attempt"] == attempt]
        assert steps == list(range(1, len(steps) + 1))
        assert len(steps) > 20


def test_training_goes_on_over_a_full_disk_and_the_lost_lines_are_counted_and_said_once(tmp_path):
    path, said = tmp_path / "m.jsonl", []
    lines = JsonLines(path, say=said.append)
    lines.add("step", step=1, filler="x" * 400)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, hard))  # a line is written in part
        for step in (2, 3, 4):
            lines.add("step", step=step, filler="x" * 400)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert lines.lost == 3
    assert len(said) == 1
    assert "training goes on" in said[0]
    lines.add("step", step=5)
    lines.add("step", step=6)
    lines.close()
    found = read(path)
    assert [line.get("step") for line in found] == [1, None, 5, 6]
    assert (found[1]["event"], found[1]["lines"]) == ("lost", 3)
    assert said[1:] == ["m.jsonl: writable again; 3 lines were lost"]
    assert all(json.loads(line) for line in path.read_text().splitlines()), "the half line is gone"


def test_a_disk_that_is_full_from_the_start_raises_nothing(tmp_path):
    said = []
    (tmp_path / "m.jsonl").symlink_to("/dev/full")
    lines = JsonLines(tmp_path / "m.jsonl", attempt=1, say=said.append)
    for step in range(50):
        lines.add("step", step=step)
    lines.close()
    assert lines.lost == 50
    assert [text.split(";")[0] for text in said] == [
        "m.jsonl: No space left on device",
        "m.jsonl: 50 lines were lost and never made up for",
    ]


def test_a_folder_that_comes_later_is_written_to_from_then_on(tmp_path):
    said = []
    lines = JsonLines(tmp_path / "late" / "m.jsonl", say=said.append)
    lines.add("step", step=1)
    (tmp_path / "late").mkdir()
    lines.add("step", step=2)
    assert [line.get("step", line["event"]) for line in read(lines.path)] == ["lost", 2]
    assert len(said) == 2


def test_durations_do_not_follow_a_wall_clock_that_jumps(tmp_path, monkeypatch):
    lines = JsonLines(tmp_path / "m.jsonl")
    now = time.time()
    found = []
    for jump in (0, -86400, +7200):
        monkeypatch.setattr(time, "time", lambda jump=jump: now + jump)
        found.append(lines.add("step"))
    assert [round(line["time"] - now) for line in found] == [0, -86400, 7200]
    ups = [line["up"] for line in found]
    assert ups == sorted(ups)
    assert ups[-1] < 5


def test_a_signal_handler_and_threads_may_write_while_the_loop_writes(tmp_path):
    lines = JsonLines(tmp_path / "m.jsonl")
    before = signal.signal(signal.SIGALRM, lambda *_: lines.add("signal"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for step in range(3000):
            lines.add("step", step=step)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    found = read(lines.path)
    assert [line["step"] for line in found if line["event"] == "step"] == list(range(3000))
    assert len(found) == len(lines.path.read_bytes().splitlines())


def test_nothing_is_written_after_close_and_closing_twice_is_fine(tmp_path):
    lines = JsonLines(tmp_path / "m.jsonl")
    lines.close()
    lines.close()
    lines.add("step")
    assert read(lines.path) == []


def test_words_carry_utc_and_go_to_standard_error_too(tmp_path, capsys):
    words = Words(tmp_path / "training.log")
    words.say("two\nlines \udcff")
    words.write("step 1/2")
    words.close()
    words.warn("late")
    first, second = (tmp_path / "training.log").read_text(encoding="utf-8").splitlines()
    assert first.split(" ", 1)[1] == "two lines \\udcff"
    stamp = time.strptime(first.split(".")[0], "%Y-%m-%dT%H:%M:%S")
    assert abs(time.mktime(stamp) - time.mktime(time.gmtime())) < 10
    assert first.split(" ")[0].endswith("Z")
    assert second.endswith(" step 1/2")
    assert capsys.readouterr().err.splitlines()[-1] == "trainer: WARNING: late"


def test_words_survive_a_closed_terminal_and_a_full_disk(tmp_path):
    (tmp_path / "training.log").symlink_to("/dev/full")
    with Path(os.devnull).open("w") as closed:
        pass
    words = Words(tmp_path / "training.log", closed)
    words.say("nobody hears this")
    words.close()


def test_a_reader_that_follows_sees_each_line_once(tmp_path):
    path = tmp_path / "m.jsonl"
    news = NewLines(path)
    assert news.read() == []
    path.write_bytes(WHOLE + b'{"event": "st')
    assert [line["step"] for line in news.read()] == [1, 2]
    assert news.read() == []
    lines = JsonLines(path)
    lines.add("step", step=3)
    assert [line["step"] for line in news.read()] == [3]


def test_a_line_costs_the_loop_microseconds(tmp_path):
    lines = JsonLines(tmp_path / "m.jsonl")
    best = math.inf
    for _ in range(5):
        began = time.perf_counter()
        for step in range(200):
            lines.add("step", step=step, loss=1.0, lr=1e-3, grad_norm=0.5, tokens=step, tokens_per_s=1e6)
        best = min(best, (time.perf_counter() - began) / 200)
    assert best < 500e-6
