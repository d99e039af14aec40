"""The meter: where a step's time goes, how fast that is, and that measuring costs nothing worth measuring."""

from __future__ import annotations

import time

import pytest

from trainer.metrics.clock import CudaMarks, HostMarks
from trainer.metrics.goodput import Tally
from trainer.metrics.peaks import Peak, Peaks, peaks_of
from trainer.metrics.performance import PARTS, PENDING, Meter

PEAKS = Peaks({"bf16": Peak(1.0, "one"), "fp8": Peak(2.0, "two")})


class Clock:
    """Time that goes on only when told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class HandMarks(HostMarks):
    """Host marks on a Clock."""

    def __init__(self, clock):
        self.clock = clock

    def mark(self):
        return self.clock.now


class Stream:
    """A GPU that works behind the host: what is queued is done when `host` reaches its time."""

    def __init__(self):
        self.busy_until, self.host = 0.0, 0.0

    def work(self, seconds):
        self.busy_until = max(self.busy_until, self.host) + seconds

    def event(self):
        return StreamEvent(self)


class StreamEvent:
    made = 0

    def __init__(self, stream):
        self.stream = stream
        StreamEvent.made += 1

    def record(self):
        self.at = max(self.stream.busy_until, self.stream.host)

    def query(self):
        return self.stream.host >= self.at

    def elapsed_time(self, other):
        assert self.query(), "nobody may wait for the GPU"
        assert other.query(), "nobody may wait for the GPU"
        return (other.at - self.at) * 1000


def run_step(meter, clock, step, parts, tokens=1000):
    meter.begin(step)
    for name, seconds in parts.items():
        with meter.part(name):
            clock.now += seconds
    return meter.end(tokens)


def by_hand(**options):
    clock = Clock()
    return clock, Meter(1e9, PEAKS, clock=clock, marks=HandMarks(clock), **options)


def test_the_parts_of_a_step_add_up_to_it():
    clock, meter = by_hand()
    meter.begin(1)
    clock.now += 0.25
    for _ in range(2):
        with meter.part("data"):
            clock.now += 0.5
        with meter.part("backward"):
            clock.now += 1
            with meter.part("forward"):
                clock.now += 2
            clock.now += 3
    with meter.part("optimizer"):
        clock.now += 1.5
    found = meter.end(100)
    split = found["split"]
    assert split == {"step": 1, "data": 1.0, "forward": 4.0, "backward": 8.0, "optimizer": 1.5, "other": 0.25}
    assert sum(split[name] for name in PARTS) == found["seconds"] == 14.75


def test_speed_is_of_the_newest_steps_and_not_of_the_first_that_compiles():
    clock, meter = by_hand(gpus=2, steps=100)
    first = run_step(meter, clock, 1, {"forward": 50.0})
    assert first["tokens_per_s"] == 20
    for step in range(2, 60):
        found = run_step(meter, clock, step, {"forward": 4.0 if step < 30 else 2.0})
    assert found["tokens_per_s"] == 500
    assert found["steps_per_second"] == 0.5
    assert found["tflops_per_gpu"] == 500 * 1e9 / 2 / 1e12 == 0.25
    assert found["mfu"] == {"bf16": 0.25, "fp8": 0.125}
    assert found["peaks"] == {"bf16": {"tflops": 1.0, "name": "one"}, "fp8": {"tflops": 2.0, "name": "two"}}
    assert found["eta_seconds"] == (100 - 59) * 2.0


def test_a_save_between_steps_is_told_apart_and_is_part_of_the_time_that_is_left():
    clock, meter = by_hand(steps=30)
    for step in range(1, 11):
        found = run_step(meter, clock, step, {"backward": 1.0})
        with meter.part("save"):
            clock.now += 1.0
    assert found["between"] == {"save": 1.0}
    assert found["split"]["backward"] == found["seconds"] == 1.0
    assert found["tokens_per_s"] == 1000
    assert found["eta_seconds"] == pytest.approx(20 * 2.0, rel=0.1)


def test_a_skipped_step_leaves_no_trace_and_neither_does_an_error():
    clock, meter = by_hand()
    run_step(meter, clock, 1, {"data": 1.0})
    meter.begin(2)
    with pytest.raises(ZeroDivisionError), meter.part("backward"), meter.part("forward"):
        clock.now += 9
        raise ZeroDivisionError
    found = run_step(meter, clock, 3, {"data": 1.0})
    assert found["split"] == {"step": 3, "data": 1.0, "forward": 0, "backward": 0, "optimizer": 0, "other": 0}
    with pytest.raises(RuntimeError, match="without"):
        meter.end(1)


def test_another_sequence_length_has_other_flops_and_starts_anew():
    clock, meter = by_hand()
    for step in range(1, 5):
        run_step(meter, clock, step, {"forward": 1.0})
    meter.stage(3e9)
    found = run_step(meter, clock, 5, {"forward": 2.0})
    assert found["tokens_per_s"] == 500
    assert found["tflops_per_gpu"] == 1.5


def test_on_a_gpu_the_split_comes_later_without_anybody_waiting():
    """The host runs ahead of the GPU by almost a step; data arrives late once and the GPU stands still for it."""
    stream, clock = Stream(), Clock()
    meter = Meter(1e9, PEAKS, clock=clock, marks=CudaMarks(stream.event), sample_every=1)
    StreamEvent.made, found = 0, []
    for step in range(1, 41):
        meter.begin(step)
        with meter.part("data"):
            stream.host += 0.5  # reading takes half a second of the host, most often while the GPU is busy
            if step == 6:
                stream.host += 10
        with meter.part("backward"):
            with meter.part("forward"):
                stream.work(1.0)
            stream.work(2.0)
        with meter.part("optimizer"):
            stream.work(0.25)
        clock.now += 1
        stream.host = max(stream.host, stream.busy_until - 0.6)  # reads the loss: almost caught up
        found.append(meter.end(1000)["split"])
    splits = {split["step"]: split for split in found if split}
    assert found[0] is None, "the GPU was not there yet"
    assert len(splits) >= 35
    for step, split in splits.items():
        assert (split["forward"], split["backward"], split["optimizer"]) == (1.0, 2.0, 0.25)
        expected = 0.5 if step == 1 else pytest.approx(9.9) if step == 6 else 0.0
        assert split["data"] == expected, "only time the GPU stood still is a wait for data"
    assert StreamEvent.made < 30, "events are used again"


def test_only_every_nth_step_is_split_on_a_gpu_and_a_stuck_one_piles_nothing_up():
    stream = Stream()
    meter = Meter(1e9, PEAKS, marks=CudaMarks(stream.event), sample_every=10)
    StreamEvent.made = 0
    stream.work(1e9)
    for step in range(1, 1001):
        meter.begin(step)
        with meter.part("forward"):
            pass
        assert meter.end(1)["split"] is None
    assert StreamEvent.made <= 4 * (PENDING + 2)


def test_the_models_own_forward_is_told_apart_from_the_backward_around_it(torch):
    model = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256))
    meter = Meter(1.0, PEAKS)
    remove = meter.watch(model)
    inputs = torch.randn(64, 256)
    model(inputs)  # an evaluation: outside a step
    meter.begin(1)
    for _ in range(3):
        with meter.part("backward"):
            model(inputs).sum().backward()
    split = meter.end(64)["split"]
    assert split["forward"] > 0
    assert split["backward"] > 0
    assert split["other"] < split["forward"] + split["backward"]
    with pytest.raises(RuntimeError), meter.part("backward"):
        model(inputs[:, :3])
    remove()
    meter.begin(2)
    with meter.part("backward"):
        model(inputs)
    assert meter.end(64)["split"]["forward"] == 0


def test_goodput_and_dollars_come_from_the_training_lines():
    tally = Tally()
    for record in (
        {"event": "start", "attempt": 1, "up": 3600.0, "time": 0, "step": 0, "price": 2.0, "gpus": 4},
        {"event": "step", "attempt": 1, "up": 7200.0, "time": 0, "step": 1, "step_seconds": 3600.0},
    ):
        tally.add(record)
    clock, meter = by_hand(tally=tally)
    found = run_step(meter, clock, 2, {"forward": 1.0})
    assert (found["goodput"], found["dollars"]) == (0.5, {"attempt": 16.0, "run": 16.0})


def test_a_cpu_has_no_mfu_and_the_record_says_why():
    meter = Meter(1e9, peaks_of(None))
    meter.begin(1)
    found = meter.end(10)
    assert found["mfu"] == {"bf16": None, "fp8": None}
    assert "CPU" in found["mfu_reason"]
    assert found["memory"]["rss_bytes"] > 1e6
    assert found["eta_seconds"] is None


def test_measuring_a_step_costs_far_less_than_three_percent_of_the_fastest_one():
    tally = Tally()
    for step in range(20_000):
        tally.add({"event": "step", "attempt": 1, "up": step * 0.01, "time": 0, "step": step, "step_seconds": 0.01})
    meter = Meter(1e9, PEAKS, tally=tally)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for step in range(100):
            meter.begin(step)
            for _ in range(4):
                with meter.part("data"):
                    pass
                with meter.part("backward"), meter.part("forward"):
                    pass
            with meter.part("optimizer"):
                pass
            meter.end(100)
        best = min(best, (time.perf_counter() - began) / 100)
    assert best < 600e-6
