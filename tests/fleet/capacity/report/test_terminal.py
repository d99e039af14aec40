"""The report on a terminal: the answer first, everything on lines that fit, plain where there is no terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from fleet.capacity import models
from fleet.capacity.advice.batches import batches
from fleet.capacity.figure import Figure
from fleet.capacity.finish.goal import Goal
from fleet.capacity.finish.habits import Habits
from fleet.capacity.memory.memory import memory
from fleet.capacity.plan import Plan, plan
from fleet.capacity.report.amounts import large
from fleet.capacity.report.document import document
from fleet.capacity.report.flags import flags
from fleet.capacity.report.html import html
from fleet.capacity.report.terminal import show
from fleet.capacity.report.terminal_memory import enough, terms
from fleet.capacity.report.terminal_rows import bar, gb
from fleet.capacity.workload import Workload
from profiles.gpus import gpu

NODE = (gpu("h100-sxm"), 8)
OTHERS = [(gpu(key), count) for key in ("a100-80-sxm", "h100-sxm", "rtx4090") for count in (1, 8)]


def made(model: str = "mpt-1b", price: float | None = 2.5, wanted=NODE, goal: Goal | None = None, **more) -> Plan:
    work = Workload(models.model(model), 2048, 512, **more)
    known = None if price is None else Figure(price, "USD/GPU-hour", f"--price {price:g}")
    return plan(work, goal or Goal(tokens=26e9), OTHERS, lambda key, count: known, Habits(), wanted=wanted)


def printed(answer: Plan, width: int = 100, terminal: bool = False, **more) -> str:
    file = io.StringIO()
    show(
        answer,
        Console(file=file, width=width, force_terminal=terminal, color_system="standard" if terminal else "auto"),
        **more,
    )
    return file.getvalue()


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_first_line_is_the_answer():
    answer = made()
    first = printed(answer, 120).splitlines()[0]
    held = answer.chosen.settled.memory
    assert first.startswith("mpt-1b on 8 x H100 SXM5 80GB: it fits")
    assert f"{gb(held.total)} of {gb(held.capacity)} GB" in first
    assert re.search(r", [\d.]+ h, \$[\d,]+$", first)


def test_memory_is_itemised_and_adds_up_to_the_total():
    held = made().chosen.settled.memory
    assert sum(size for _, size, _ in terms(held)) == pytest.approx(held.total, rel=0.003)
    text = printed(made(), 120)
    for name, size, knob in terms(held):
        assert re.search(rf"^ {re.escape(name)} +{re.escape(gb(size))} [█ ]+{re.escape(knob)}$", text, re.MULTILINE), (
            name
        )
    assert re.search(rf"^ total +{gb(held.total)} █+", text, re.MULTILINE)


def test_what_a_gb_is_stands_there_once():
    text = printed(made())
    assert text.count("10^9 bytes") == 1 and "GiB" not in text


def test_hours_and_dollars_have_ranges_and_the_price_its_source():
    text = words(printed(made(), 120))
    assert re.search(r" hours [\d.]+ h \([\d.]+–[\d.]+ h\): training \d+%", text)
    assert re.search(r" dollars \$[\d,]+ \(\$[\d,]+–\$[\d,]+\) at 8 x \$2\.50 per hour \(--price 2\.5\)", text)


def test_without_a_price_it_says_how_to_give_one():
    text = printed(made(price=None))
    assert "no price known: --price" in text and "$/h" not in text
    assert "the fewest GPU-hours first" in text


def test_a_plan_that_does_not_fit_says_what_to_change_and_how_to_plan_that():
    answer = made("llama-3-8b", zero=0)
    text = words(printed(answer))
    held = answer.chosen.settled.memory
    assert "it does not fit" in text.partition(" model ")[0]
    assert f"{gb(held.total - held.capacity)} GB too much; the largest part is {held.dominant.name}" in text
    assert answer.chosen.changes
    for change in answer.chosen.changes:
        assert change.setting in text and flags(change.setting) in text
    assert "then it fits" in text and "Time and money" not in text


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("train.micro_batch=4", "--device-batch-size 4"),
        ("gpu.count=16", "--gpu-count 16"),
        ("parallel.offload=both parallel.zero=3", "--offload both --zero 3"),
        ("train.loss_chunk=2048", "--set train.loss_chunk=2048"),
        ("", ""),
    ],
)
def test_each_setting_has_the_flags_that_plan_it(setting: str, told: str):
    assert flags(setting) == told


def test_a_change_that_moves_it_into_ram_says_how_much_and_whether_that_is_there():
    answer = made("llama-3-8b", zero=0)
    text = words(printed(answer))
    offloading = [change for change in answer.chosen.changes if "offload" in change.setting]
    assert offloading
    for change in offloading:
        after = memory(change.setup)
        assert after.host > answer.chosen.settled.memory.host
        assert f"{gb(after.host)} GB of each machine's RAM" in text


@pytest.mark.parametrize(
    ("high", "host", "told"),
    [(60e9, 100e9, "then it fits"), (60e9, 300e9, "then the GPU suffices"), (90e9, 1e9, "not")],
)
def test_a_change_that_lacks_only_ram_is_told_apart_from_one_that_is_too_little(high: float, host: float, told: str):
    held = replace(made().chosen.settled.memory, total=60e9, capacity=80e9, high=high, host=host, host_capacity=200e9)
    assert enough(held)[0].startswith(told)


def test_what_to_train_with_is_all_that_the_plan_assumed_of_the_trainer():
    setup = made().chosen.settled.setup
    told = words(printed(made())).partition("train with")[2].partition("(")[0].split()
    assert told[0].startswith("precision.name=")
    assert {f"train.batch={setup.step_tokens // setup.length}", f"model.context={setup.length}"} <= set(told)
    assert {f"train.micro_batch={setup.micro_batch}", "train.compile=true"} <= set(told)


@pytest.mark.parametrize(("batch", "told"), [(1, "1 sequence of"), (8, "8 sequences of")])
def test_one_sequence_is_not_many(batch: int, told: str):
    work = Workload(models.model("mpt-125m"), 2048, batch)
    answer = plan(work, Goal(tokens=1e9), [(gpu("l4"), 1)], lambda gpu, count: None, Habits())
    assert told in words(printed(answer))


def test_what_hours_buy_is_in_the_first_line():
    answer = made(goal=Goal(hours=10))
    assert f"buys {large(answer.chosen.bill.tokens.value)} tokens" in printed(answer, 120).splitlines()[0]
    assert "buys" not in printed(made(), 120).splitlines()[0]


def test_what_hours_buy_is_told_with_its_range():
    text = words(printed(made(goal=Goal(hours=10)), 120))
    assert re.search(r" it buys [\d.]+B tokens \([\d.]+B–[\d.]+B\) for 10 h", text)
    assert "what --hours buys on each" in text


def test_the_chosen_machine_is_marked_among_the_others():
    rows = [line for line in printed(made(), 120).splitlines() if re.match(r"^>? +\d+\. ", line)]
    assert [line for line in rows if line.startswith(">")] == [line for line in rows if "8 x h100-sxm" in line]
    assert len(rows) >= 3


def test_machines_that_cannot_do_it_are_named_with_the_reason():
    answer = made(precision="fp8-current")
    assert "not possible on a100-80-sxm (fp8-current does not run" in words(printed(answer))


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("zero", [None, 0])
def test_no_line_is_wider_than_the_terminal_and_none_ends_in_blanks(width: int, zero: int | None):
    answer = made("llama-3-8b", zero=zero)
    for line in printed(answer, width, with_sources=True, notes=["a note"]).splitlines():
        assert len(line) <= width
        assert line == line.rstrip()


@settings(max_examples=25)
@given(st.integers(40, 240), st.sampled_from(["mpt-125m", "mpt-7b"]), st.sampled_from([None, 0.39, 12.0]))
def test_every_width_and_price_prints(width: int, model: str, price: float | None):
    text = printed(made(model, price), width)
    assert all(len(line) <= width for line in text.splitlines())


def test_a_terminal_gets_colours_and_a_pipe_gets_none():
    assert "\x1b[" in printed(made(), terminal=True)
    assert "\x1b[" not in printed(made())


def test_a_console_without_unicode_gets_bars_of_ascii():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    show(made(), Console(file=file, width=80))
    file.flush()
    text = file.buffer.getvalue().decode("ascii")
    assert "####" in text and "????" not in text


def test_sources_are_listed_when_asked_for():
    text = words(printed(made(), with_sources=True))
    assert "price: --price 2.5" in text and "FLOPs per token: 6 FLOPs" in text
    assert "Sources" not in printed(made())


def test_the_batch_table_has_a_row_per_gpu_and_a_dash_where_nothing_fits():
    work = Workload(models.model("mpt-7b"), 2048, 512)
    cells = batches(work, [gpu("h200-sxm"), gpu("rtx4090")], (512, 2048))
    answer = replace(made(), table=tuple(cells))
    rows = printed(answer).partition("Largest micro-batch")[2].splitlines()
    assert re.search(r"h200-sxm .*\d+[sf]? [\d.]+k", "\n".join(rows))
    assert any(re.match(r" rtx4090 .*- +-$", line) for line in rows)


def test_a_bar_shows_even_the_smallest_part_and_never_more_than_its_room():
    assert bar(0.0, 20, "█") == "" and bar(1e-6, 20, "█") == "█" and bar(3.0, 20, "█") == "█" * 20


def test_the_page_is_drawn_from_the_same_document():
    answer = made()
    found = document(answer, {"gpu": ["h100-sxm"]}, ["a note"])
    page = html(found)
    assert "mpt-1b" in page and "H100 SXM5 80GB" in page
    assert found["chosen"]["verdict"] == "fits" and found["choices"][0]["hours"]["source"]
