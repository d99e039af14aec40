"""Where a lost run goes on, how long it waits, and when it gives up."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fleet.offers.offer import INTERRUPTIBLE, ON_DEMAND, Offer
from fleet.resume.policy import LONGEST_PAUSE, SPOT_LOSSES, Loss, Policy, Where, allowed, gives_up, pause

losses = st.lists(
    st.builds(
        Loss,
        st.just("vast"),
        st.just("h100-sxm"),
        st.just(1),
        st.sampled_from([ON_DEMAND, INTERRUPTIBLE]),
        st.integers(0, 3),
    ),
    max_size=9,
)


def offer(provider: str = "vast", gpu: str = "h100-sxm", price: float = 2.0, kind: str = ON_DEMAND) -> Offer:
    return Offer(provider, gpu, 1, price, kind, f"{provider}-{gpu}-{price}", "2026-11-20T12:00:00+00:00")


def loss(kind: str = ON_DEMAND, steps: int = 1) -> Loss:
    return Loss("vast", "h100-sxm", 1, kind, steps)


def test_the_same_means_provider_and_gpu_of_the_last_machine():
    offers = [offer(), offer("runpod"), offer(gpu="a100-80-sxm")]
    assert allowed(Policy(Where.SAME), [loss()], offers) == offers[:1]
    assert allowed(Policy(Where.ANY), [loss()], offers) == offers


def test_a_price_ceiling_holds_for_the_whole_machine():
    dear = Offer("vast", "h100-sxm", 8, 2.0, ON_DEMAND, "8x", "2026-11-20T12:00:00+00:00")
    assert allowed(Policy(usd_hour=Decimal(15)), [], [offer(), dear]) == [offer()]


def test_spot_until_it_was_lost_often_enough_and_on_demand_after():
    policy, offers = Policy(Where.SPOT_THEN_ON_DEMAND), [offer(kind=INTERRUPTIBLE), offer()]
    assert allowed(policy, [loss(INTERRUPTIBLE)] * (SPOT_LOSSES - 1), offers) == offers
    assert allowed(policy, [loss(INTERRUPTIBLE)] * SPOT_LOSSES, offers) == offers[1:]


def test_an_on_demand_run_is_never_moved_to_an_interruptible_machine_by_itself():
    assert allowed(Policy(Where.ANY), [loss()], [offer(kind=INTERRUPTIBLE)]) == []


def test_it_gives_up_after_losses_without_progress_only():
    policy = Policy(losses=3)
    assert gives_up(policy, [loss(steps=0)] * 3)
    assert not gives_up(policy, [loss(steps=0)] * 2 + [loss(steps=5)] + [loss(steps=0)] * 2)


@given(losses)
def test_it_never_waits_after_progress_and_never_longer_than_the_longest_pause(history: list[Loss]):
    waited = pause(history)
    assert timedelta() <= waited <= LONGEST_PAUSE
    assert (waited == timedelta()) == (not history or history[-1].steps > 0)
