from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.capacity.finish.bill import finish
from fleet.capacity.finish.goal import Goal
from fleet.capacity.finish.habits import Habits
from fleet.capacity.finish.room import least, room
from fleet.capacity.setup import Setup
from profiles.errors import CheckFailed, WrongInput
from profiles.gpus import gpu
from tests.fleet.capacity.finish.conftest import GPT2

KEEP = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
BARE = Habits(
    boot_seconds=0, image_bytes=0, unpacked_bytes=0, data="there", evaluate_every=0
)  # of what is not training only checkpoints and failures: the seeds count training alone
KINDS = st.builds(Habits, kind=st.sampled_from(["on-demand", "spot"]))


def test_every_part_of_the_hours_is_told_and_they_add_up(setup, at, usd):
    bill = finish(setup, at(60e3), Goal(tokens=51.6e9), usd(3))
    assert set(bill.parts) == {
        "boot", "image", "data", "compile", "training", "evaluation", "saves", "last checkpoint", "interruptions",
    }  # fmt: skip
    assert sum(part.value for part in bill.parts.values()) == pytest.approx(bill.hours.value)
    assert all(part.low <= part.value <= part.high and part.source for part in bill.parts.values())


def test_training_is_tokens_over_speed_with_the_speed_s_range(setup, at, usd):
    bill = finish(setup, at(60e3, spread=0.2), Goal(tokens=1_048_576 * 1000), usd(3))
    training = bill.parts["training"]
    assert training.value == pytest.approx(1_048_576_000 / 480e3 / 3600)
    assert (training.low, training.high) == pytest.approx((training.value / 1.2, training.value / 0.8))


def test_dollars_are_gpu_hours_by_the_price(setup, at, usd):
    bill = finish(setup, at(60e3), Goal(tokens=51.6e9), usd(3))
    assert bill.dollars.value == pytest.approx(bill.hours.value * 8 * 3)
    assert bill.dollars.low < bill.dollars.value < bill.dollars.high
    assert bill.per_billion.value == pytest.approx(bill.dollars.value / (bill.steps * 1_048_576 / 1e9))


def test_a_range_of_prices_widens_the_dollars(setup, at, usd):
    wide = dataclasses.replace(usd(3), low=2.0, high=4.0)
    narrow, broad = (finish(setup, at(60e3), Goal(tokens=1e9), price) for price in (usd(3), wide))
    assert broad.dollars.low < narrow.dollars.low and broad.dollars.high > narrow.dollars.high


def test_without_a_price_nothing_is_said_of_dollars(setup, at):
    bill = finish(setup, at(60e3), Goal(tokens=1e9), None)
    assert bill.dollars is None and bill.per_billion is None and bill.money == {}
    assert bill.hours.value > 0


def test_storage_and_traffic_are_paid_where_they_have_a_price(setup, at, usd):
    habits = Habits(storage_price=0.1, up_price=0.005, down_price=0.003)
    bill = finish(setup, at(60e3), Goal(tokens=51.6e9), usd(3), habits)
    assert bill.money["storage"].value == pytest.approx(0.1 * bill.disk.total / 1e9 * bill.hours.value / 720, rel=1e-3)
    assert bill.money["traffic"].value > 0.005 * bill.checkpoint.value / 1e9
    assert sum(kind.value for kind in bill.money.values()) == pytest.approx(bill.dollars.value)


def test_each_save_is_paid_as_traffic(setup, at, usd):
    often, seldom = (
        finish(setup, at(60e3), Goal(steps=10_000), usd(3), Habits(up_price=1.0, save_steps=steps))
        for steps in (1000, 10_000)
    )
    more = often.money["traffic"].value - seldom.money["traffic"].value
    assert more == pytest.approx(9 * often.checkpoint.value / 1e9, rel=1e-6)


def test_prices_that_nobody_told_count_as_0_and_the_source_says_so(setup, at, usd):
    bill = finish(setup, at(60e3), Goal(tokens=1e9), usd(3), Habits(down_price=0.0))
    assert bill.money["storage"].value == bill.money["traffic"].value == 0
    assert bill.money["storage"].source == "not told, counted as 0"
    assert bill.money["traffic"].source == "USD per GB: sent not told, counted as 0, received 0"


def test_a_machine_whose_disk_is_too_small_is_warned_of(setup, at, usd):
    goal = Goal(tokens=51.6e9)
    needed = finish(setup, at(60e3), goal, usd(3)).disk.total / 1e9
    small, large = (finish(setup, at(60e3), goal, usd(3), Habits(disk_gb=needed + more)) for more in (-1, 1))
    assert [line for line in small.warnings if "disk" in line] and not large.warnings


@given(dataset=st.sampled_from([0, 2e9]), steps=st.integers(1, 10**5), keep=st.integers(1, 9))
def test_the_disk_needed_at_least_is_all_but_the_samples_of_the_gpus(dataset, steps, keep):
    setup, habits = Setup(GPT2, gpu("h100-sxm"), 8, 2048, 16, 4), Habits(keep=keep)
    goal = Goal(steps=steps, dataset_tokens=dataset)
    floor = least(setup.shape, setup.optimizer, habits, goal, setup.step_tokens)
    tokens = dataset or steps * setup.step_tokens
    whole = room(setup.shape, setup.optimizer, habits, tokens, steps, seconds=3600.0).total
    assert 0 < whole - floor < 1e6


def test_what_hours_will_buy_of_data_is_not_in_the_disk_needed_at_least(setup):
    some, none = (least(setup.shape, "adamw", Habits(), goal, 1 << 20) for goal in (Goal(steps=1000), Goal(hours=9)))
    assert some - none == pytest.approx(1000 * 2 * (1 << 20), rel=1e-2)


def test_the_disk_holds_five_checkpoints_the_data_the_image_and_the_logs(setup, at, usd):
    bill = finish(setup, at(60e3), Goal(tokens=51.6e9), usd(3))
    assert bill.disk.copies == 5
    assert bill.disk.checkpoints == pytest.approx(5 * 12 * 759_905_280, rel=0.001)
    assert bill.disk.dataset == pytest.approx(103.2e9, rel=1e-3)
    assert bill.disk.total > bill.disk.checkpoints + bill.disk.dataset + 21e9


def test_the_bill_is_plain_json_with_a_source_at_every_figure(setup, at, usd):
    told = finish(setup, at(60e3), Goal(dollars=300, dataset_tokens=2e9), usd(3)).to_json()
    again = json.loads(json.dumps(told, allow_nan=False))
    assert again == told
    assert all(
        told[name]["source"] for name in ("hours", "dollars", "tokens", "goodput", "mtbf", "checkpoint", "stall")
    )


def test_passes_over_the_data_are_told(setup, at, usd):
    """seeds.md C36: 12.06B tokens of 350M are 34.5 epochs."""
    bill = finish(setup, at(60e3), Goal(tokens=12.06e9, dataset_tokens=350e6), usd(3))
    assert bill.epochs.value == pytest.approx(34.5, abs=0.1)


def test_epochs_of_a_dataset_are_tokens(setup, at, usd):
    bill = finish(setup, at(60e3), Goal(epochs=3, dataset_tokens=2.61e9), usd(3))
    assert bill.tokens.value == pytest.approx(7.83e9, rel=1e-3)


def test_a_budget_buys_a_range_of_tokens(setup, at, usd):
    bill = finish(setup, at(60e3), Goal(dollars=300), usd(3))
    assert bill.dollars.value <= 300 < finish(setup, at(60e3), Goal(steps=bill.steps + 1), usd(3)).dollars.value
    assert bill.tokens.low < bill.tokens.value < bill.tokens.high


def test_a_budget_that_buys_nothing_is_refused_with_the_smallest_useful_one(setup, at, usd):
    with pytest.raises(WrongInput, match="not one optimizer step") as refused:
        finish(setup, at(60e3), Goal(dollars=1), usd(3))
    least = float(refused.value.next_step.split("$")[1].split(" ")[0])
    assert finish(setup, at(60e3), Goal(dollars=least), usd(3)).steps >= 100
    with pytest.raises(WrongInput):
        finish(setup, at(60e3), Goal(dollars=least - 0.02), usd(3))


def test_hours_that_buy_nothing_are_refused_with_the_fewest_useful_ones(setup, at, usd):
    with pytest.raises(WrongInput, match="not one optimizer step") as refused:
        finish(setup, at(60e3), Goal(hours=0.01), usd(3))
    assert "--hours is" in refused.value.next_step


def test_a_budget_beside_a_goal_says_whether_it_suffices_and_what_it_buys(setup, at, usd):
    goal = Goal(tokens=51.6e9)
    price = finish(setup, at(60e3), goal, usd(3)).dollars.value
    enough = finish(setup, at(60e3), goal, usd(3), budget=price * 1.01).verdict
    short = finish(setup, at(60e3), goal, usd(3), budget=price / 2).verdict
    assert enough.enough and enough.share == 1
    assert not short.enough and 0.4 < short.share < 0.5 and short.wanted == pytest.approx(price)


def test_a_budget_without_a_price_and_a_budget_beside_hours_are_refused(setup, at, usd):
    with pytest.raises(WrongInput, match="price"):
        finish(setup, at(60e3), Goal(dollars=300), None)
    with pytest.raises(WrongInput, match="price"):
        finish(setup, at(60e3), Goal(dollars=300), usd(0))
    with pytest.raises(WrongInput, match=r"--hours and --budget"):
        finish(setup, at(60e3), Goal(hours=3), usd(3), budget=100)


@pytest.mark.parametrize("price", [-1, math.nan, math.inf, 5000])
def test_prices_that_are_no_prices_are_refused(setup, at, usd, price):
    with pytest.raises(WrongInput, match="--price"):
        finish(setup, at(60e3), Goal(tokens=1e9), usd(price))


@pytest.mark.parametrize("wrong", [{"kind": "free"}, {"data": "magic"}, {"down_mbit": 0}, {"keep": -1}])
def test_habits_that_cannot_be_are_refused(wrong):
    with pytest.raises(WrongInput):
        Habits(**wrong)


def test_spot_costs_more_hours_saves_oftener_and_has_the_lower_goodput(setup, at, usd):
    demand, spot = (
        finish(setup, at(60e3), Goal(tokens=51.6e9), usd(3), Habits(kind=kind)) for kind in ("on-demand", "spot")
    )
    assert spot.hours.value > demand.hours.value
    assert spot.cadence.seconds < demand.cadence.seconds
    assert spot.goodput.value < demand.goodput.value


def test_interruptions_faster_than_a_restart_never_end(setup, at, usd):
    with pytest.raises(CheckFailed, match="never ends"):
        finish(setup, at(60e3), Goal(tokens=51.6e9), usd(3), Habits(kind="spot", down_mbit=5))


@KEEP
@given(one=st.floats(20, 1e6), more=st.floats(0, 1e6), habits=KINDS)
def test_more_budget_never_buys_fewer_tokens(setup, at, usd, one, more, habits):
    less, greater = (finish(setup, at(60e3), Goal(dollars=d), usd(3), habits) for d in (one, one + more))
    assert greater.steps >= less.steps


@KEEP
@given(steps=st.integers(100, 10**6), per_gpu=st.floats(5e3, 5e5), habits=KINDS)
def test_what_a_number_of_tokens_costs_buys_those_tokens(setup, at, usd, steps, per_gpu, habits):
    cost = finish(setup, at(per_gpu), Goal(steps=steps), usd(3), habits)
    back = finish(setup, at(per_gpu), Goal(dollars=cost.dollars.value * (1 + 1e-9)), usd(3), habits)
    assert back.steps - steps in (0, 1)
    hours = finish(setup, at(per_gpu), Goal(hours=cost.hours.value * (1 + 1e-9)), usd(3), habits)
    assert hours.steps - steps in (0, 1)


@KEEP
@given(steps=st.integers(1, 10**8), per_gpu=st.floats(10, 5e5), habits=KINDS, save=st.integers(0, 10**4))
def test_parts_add_up_and_goodput_is_a_share(setup, at, usd, steps, per_gpu, habits, save):
    habits = dataclasses.replace(habits, save_steps=save)
    try:
        bill = finish(setup, at(per_gpu), Goal(steps=steps), usd(3), habits)
    except CheckFailed:  # saving so rarely on spot machines that it never ends
        assert habits.kind != "on-demand" or save
        return
    assert sum(part.value for part in bill.parts.values()) == pytest.approx(bill.hours.value)
    assert all(part.value >= 0 for part in bill.parts.values())
    assert 0 < bill.goodput.low <= bill.goodput.value <= bill.goodput.high <= 1
    assert bill.hours.low <= bill.hours.value <= bill.hours.high


def test_c12_a_hundred_thousand_steps_of_1048576_are_104_9_billion_tokens_two_epochs(setup, at, usd):
    bill = finish(setup, at(60e3), Goal(steps=100_000, dataset_tokens=51.6e9), usd(1), BARE)
    assert bill.tokens.value == pytest.approx(104.9e9, rel=1e-3)
    assert bill.epochs.value == pytest.approx(2.03, abs=0.005)


@pytest.mark.parametrize(("goal", "hours", "dollars"), [
    (Goal(epochs=1, dataset_tokens=51.6e9), 140.6, 1113),
    (Goal(steps=100_000), 286, 2263),
])  # fmt: skip
def test_r3_what_350_steps_an_hour_cost_at_7_92_dollars_an_hour(setup, at, usd, goal, hours, dollars):
    bill = finish(setup, at(350 * 1_048_576 / 3600 / 8), goal, usd(7.92 / 8), BARE)
    training = bill.parts["training"].value
    assert bill.steps_per_hour.value == pytest.approx(350)
    assert training == pytest.approx(hours, rel=2e-3)
    assert training * 7.92 == pytest.approx(dollars, rel=2e-3)


@pytest.mark.parametrize(("rate", "gpus", "hours", "dollars"), [
    (40e3, 1, 54.4, 108.75), (100e3, 1, 21.75, 43.5), (150e3, 1, 14.5, 29.0), (250e3, 1, 8.7, 17.4),
    (2e6, 8, 1.09, 17.4),
])  # fmt: skip
def test_c29_three_epochs_of_2_61_billion_tokens(setup, at, usd, rate, gpus, hours, dollars):
    one = dataclasses.replace(setup, gpus=gpus)
    bill = finish(one, at(rate / gpus, gpus), Goal(epochs=3, dataset_tokens=2.61e9), usd(2), BARE)
    assert bill.parts["training"].value == pytest.approx(hours, rel=4e-3)
    assert bill.parts["training"].value * gpus * 2 == pytest.approx(dollars, rel=4e-3)
