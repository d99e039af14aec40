"""Offers are tried in the order of what finishing costs there; a machine where it does not end well is left out."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cli.fleet_flags import Asked
from cli.fleet_training import training_of
from fleet.deploy.candidates import Priced, cap, price, rank, shortlist
from fleet.deploy.filter import sift
from fleet.deploy.needs import needs_of
from fleet.deploy.training import Weigher
from fleet.deploy.wishes import Wishes
from fleet.offers.offer import INTERRUPTIBLE, Offer
from profiles.load import load
from tests.fleet.deploy.shelf import an_offer

PROFILE = load("h100-fp8")
NEEDS = needs_of(PROFILE, disk_bytes=100e9)
ANY = needs_of(PROFILE, disk_bytes=100e9, any_gpu=True)


@pytest.fixture(scope="module")
def weigher(tmp_path_factory: pytest.TempPathFactory) -> Weigher:
    training, _ = training_of(Asked(), PROFILE, tmp_path_factory.mktemp("home"), 8)
    return Weigher(training)


def ranked(offers: list[Offer], weigher: Weigher | None, wishes: Wishes | None = None, needs=ANY) -> list[Priced]:
    found, _ = rank(sift(offers, needs, wishes or Wishes(spot=True)), needs, wishes or Wishes(spot=True), weigher)
    return found


def test_a_dearer_hour_on_a_faster_machine_can_be_the_cheaper_finish(weigher: Weigher):
    slow, fast = an_offer(id="h100", price=2.0), an_offer(id="b200", gpu="b200", price=2.2)
    first, second = ranked([slow, fast], weigher)
    assert first.dollars is not None and second.dollars is not None and first.dollars < second.dollars
    assert first.offer.id == "b200" and first.usd_hour > second.usd_hour


def test_without_a_plan_the_whole_price_of_an_hour_decides(weigher: Weigher):
    dear_disk = an_offer(id="a", price=2.0, disk_price=40.0)
    cheap_disk = an_offer(id="b", price=2.1, disk_price=0.0)
    assert [one.offer.id for one in ranked([dear_disk, cheap_disk], None)] == ["b", "a"]


def test_equal_prices_go_to_the_more_reliable(weigher: Weigher):
    offers = [an_offer(id="a", reliability=0.95), an_offer(id="b", reliability=0.99)]
    assert [one.offer.id for one in ranked(offers, weigher)] == ["b", "a"]


def test_the_flags_of_a_machine_make_the_image_train_what_was_planned(weigher: Weigher):
    estimate = weigher.estimate(an_offer(), Decimal(16))
    assert estimate.steps is not None and estimate.flags[:2] == ("--steps", str(estimate.steps))
    assert "optim.decay_steps=0" in estimate.flags  # nobody said over how many steps the rate falls
    assert not [flag for flag in estimate.flags if flag.startswith("train.batch")]  # the image's own already


def test_flags_over_the_profile_reach_the_run_script_and_its_configuration(tmp_path):
    from trainer.config import Config
    from trainer.config.check import check, resolve
    from trainer.config.read import apply_hardware, apply_text

    training, _ = training_of(Asked(depth="20", set=["optim.lr=0.001"], device_batch_size="8"), PROFILE, tmp_path, 8)
    flags = Weigher(training).estimate(an_offer(), Decimal(16)).flags
    config = Config()
    apply_hardware(config, PROFILE.model_dump())
    apply_text(config, flags[flags.index("--set") + 1 :: 2])
    resolve(config)
    check(config)
    assert (config.model.depth, config.model.family, config.model.width) == (20, "nanochat", 1280)
    assert (config.optim.lr, config.train.micro_batch) == (0.001, 8)


def test_a_machine_that_is_gone_before_the_run_is_done_is_left_out(weigher: Weigher):
    _, sifted = rank(sift([an_offer(hours=2.0)], NEEDS, Wishes()), NEEDS, Wishes(), weigher)
    assert "on offer for 2 h more" in sifted.dropped[0].why


def test_a_machine_with_too_little_ram_for_its_ranks_is_left_out(weigher: Weigher):
    _, sifted = rank(sift([an_offer(ram_gb=4.0)], NEEDS, Wishes()), NEEDS, Wishes(), weigher)
    assert "RAM" in sifted.dropped[0].why


def test_a_bid_is_above_the_least_and_never_above_what_the_user_allows():
    offer = an_offer(kind=INTERRUPTIBLE, price=1.0, disk_price=0.0)
    assert price(offer, NEEDS, Wishes(spot=True)).bid == Decimal("8.8")
    assert price(offer, NEEDS, Wishes(spot=True, usd_hour=Decimal("8.5"))).bid == Decimal("8.5")
    assert price(an_offer(), NEEDS, Wishes()).bid is None


def test_without_a_cap_no_machine_is_taken_that_costs_a_quarter_more_than_the_first():
    offers = [an_offer(id="a", price=2.0), an_offer(id="b", price=2.4), an_offer(id="c", price=3.0)]
    found = ranked(offers, None)
    most = cap(found, Wishes())
    assert most == Decimal("20.06")
    assert [one.offer.id for one in shortlist(found, most)] == ["a", "b"]
    assert cap(found, Wishes(usd_hour=Decimal(30))) == 30
