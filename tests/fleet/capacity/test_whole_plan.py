"""The whole answer: machines ranked by what finishing costs there, and the one asked for told in full."""

from __future__ import annotations

import pytest

from fleet.capacity.figure import Figure
from fleet.capacity.finish.goal import Goal
from fleet.capacity.finish.habits import Habits
from fleet.capacity.models import model
from fleet.capacity.plan import Plan, plan
from fleet.capacity.workload import Workload
from profiles.errors import WrongInput
from profiles.gpus import gpu

WORK = Workload(model("gpt2-xl"), 1024, 512)
PRICES = {"h100-sxm": 2.5, "a100-80-sxm": 1.4, "rtx4090": 0.4}
MACHINES = [(gpu(name), count) for name in PRICES for count in (1, 8)]


def told(name: str, count: int) -> Figure | None:
    return Figure(PRICES[name], "USD per GPU-hour", "said") if name in PRICES else None


def made(**more) -> Plan:
    goal = more.pop("goal", Goal(tokens=5e9))
    return plan(more.pop("workload", WORK), goal, more.pop("machines", MACHINES), told, Habits(), **more)


def test_what_fits_stands_before_what_does_not_and_the_cheapest_to_finish_first():
    found = made()
    verdicts = [one.verdict == "fits" for one in found.choices]
    assert verdicts == sorted(verdicts, reverse=True)
    costs = [one.dollars.value for one in found.choices if one.verdict == "fits" and one.dollars]
    assert len(costs) > 2 and costs == sorted(costs)
    assert found.chosen is found.choices[0]


def test_the_machine_asked_for_is_told_whatever_its_place():
    wanted = (gpu("h100-sxm"), 8)
    found = made(wanted=wanted)
    assert (found.chosen.gpu.key, found.chosen.gpus) == ("h100-sxm", 8)
    best = found.choices[0]
    if best is not found.chosen:
        assert any(best.gpu.name in line for line in found.advice)


def test_with_a_budget_the_machine_that_buys_most_tokens_comes_first():
    bought = [
        one.bill.tokens.value for one in made(goal=Goal(dollars=300)).choices if one.verdict == "fits" and one.bill
    ]
    assert bought[0] >= 0.999 * max(bought)


def test_without_a_price_there_are_hours_and_no_dollars():
    found = plan(WORK, Goal(tokens=5e9), [(gpu("h200-sxm"), 8)], told, Habits())
    assert found.chosen.dollars is None and found.chosen.bill and found.chosen.bill.hours.value > 0


def test_a_machine_above_the_allowed_price_is_not_chosen():
    found = made(most_hourly=4.0)
    assert found.chosen.hourly is not None and found.chosen.hourly <= 4.0
    assert {one.verdict for one in found.choices if (one.hourly or 0) > 4.0 and one.bill} == {"dear"}


def test_a_budget_that_buys_nothing_says_what_the_smallest_useful_one_is():
    with pytest.raises(WrongInput, match=r"0\.01") as wrong:
        made(goal=Goal(dollars=0.01), machines=[(gpu("h100-sxm"), 8)])
    assert any(character.isdigit() for character in wrong.value.next_step)


def test_machines_that_cannot_share_the_batch_say_so_and_the_others_are_weighed():
    found = made(machines=[(gpu("h100-sxm"), 7), (gpu("h100-sxm"), 8)])
    assert [one.verdict for one in found.choices] == ["fits", "impossible"]
    assert "--batch" in found.choices[1].why


def test_no_machine_is_wrong_input():
    with pytest.raises(WrongInput, match="no machine"):
        made(machines=[])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch": 0}, "batch is 0"),
        ({"length": 0}, "sequence length is 0"),
        ({"length": 2048}, "1,024 positions"),
        ({"length": 10**8}, "a sequence of"),
        ({"batch": 10**9}, "a batch of"),
        ({"micro_batch": 0}, "micro-batch is 0"),
        ({"optimizer": "muon", "zero": 2}, "Muon"),
        ({"offload": "optimizer", "zero": 0}, "without ZeRO"),
        ({"offload": "both", "zero": 1}, "stage 3"),
    ],
)
def test_a_training_that_cannot_be_is_refused_in_one_line(change: dict, said: str):
    with pytest.raises(WrongInput, match=said) as wrong:
        WORK.with_(**change)
    assert wrong.value.next_step and "\n" not in wrong.value.what
