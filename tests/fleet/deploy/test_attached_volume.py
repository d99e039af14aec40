"""A volume that exists already is found by its name or id, decides which machines will do, and is never deleted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from cli.fleet_market import on_disk
from fleet.deploy import container as boxes
from fleet.deploy.container import recipe
from fleet.deploy.filter import sift
from fleet.deploy.market import question
from fleet.deploy.needs import Needs
from fleet.deploy.volume import chosen, left_behind, restored, roomy, stored, told
from fleet.deploy.wishes import Wishes
from fleet.ledger.values import Limits, Run
from fleet.providers.hyperbolic.lacks import LACKS
from fleet.providers.values import Volume
from fleet.resume.again import container
from fleet.resume.places import on_its_volume
from profiles.errors import OutsideFailed, Refused, WrongInput
from profiles.load import load
from tests.fleet.deploy.shelf import IMAGE, Stall, an_offer, priced

CKPT = Volume("runpod", "2q9m7x4c", "ckpt", 100, "US-KS-2", usd_month=Decimal("7.00"), tier="secure")
LOCAL = Volume("vast", "12345", "V.12345", 50, "SE", "88888", Decimal("7.5"))


def shops(**changed: Any) -> dict[str, Stall]:
    return {
        "runpod": Stall("runpod", stored=[CKPT, replace(CKPT, id="9z", name="data")]),
        "vast": Stall("vast", stored=[LOCAL]),
        "hyperbolic": Stall("hyperbolic", stored=None, lacks=LACKS),
        **changed,
    }


@pytest.mark.parametrize("text", ["ckpt", "2q9m7x4c"])
def test_it_is_meant_by_its_name_or_its_id_at_any_provider(text: str):
    assert chosen(text, shops()) == CKPT


def test_an_unknown_one_is_told_with_the_nearest_and_with_those_there_are():
    with pytest.raises(WrongInput) as unknown:
        chosen("ckpd", shops())
    assert "no volume `ckpd` at runpod, vast" in unknown.value.what
    assert "did you mean `ckpt`?" in unknown.value.next_step
    assert "data (9z), 100 GB at runpod US-KS-2, 7.00 USD/month" in unknown.value.next_step
    with pytest.raises(WrongInput) as none:
        chosen("x", {"runpod": Stall("runpod")})
    assert none.value.next_step == "there is none: make one in the console of runpod"


def test_a_name_that_two_have_is_asked_about_and_an_id_is_always_one():
    two = {"runpod": Stall("runpod", stored=[CKPT, replace(CKPT, id="2")])}
    with pytest.raises(WrongInput) as twice:
        chosen("ckpt", two)
    assert twice.value.what == "2 volumes are called `ckpt`: runpod 2q9m7x4c, runpod 2"
    assert chosen("2", two).id == "2"


def test_a_provider_that_attaches_none_says_what_to_do_instead():
    with pytest.raises(WrongInput) as unable:
        chosen("ckpt", {"hyperbolic": shops()["hyperbolic"]})
    assert unable.value.what == "hyperbolic attaches no volume" and "remote" in unable.value.next_step


def test_a_provider_that_does_not_answer_may_have_it():
    down = shops(runpod=Stall("runpod", down=True))
    with pytest.raises(OutsideFailed, match="whether runpod has a volume `ckpt` is not known"):
        chosen("ckpt", down)
    assert chosen("V.12345", down) == LOCAL


def test_one_that_is_smaller_than_the_run_needs_is_refused_with_both_numbers():
    roomy(CKPT, 100)
    roomy(replace(CKPT, gb=0), 10_000)  # not told
    with pytest.raises(Refused) as small:
        roomy(CKPT, 101)
    assert "ckpt (2q9m7x4c) has 100 GB" in small.value.what and "need 101 GB" in small.value.what


def test_what_is_written_to_it_is_not_asked_of_the_machines_own_disk():
    assert on_disk(200e9, 21e9, None) == (200e9, 0)
    assert on_disk(200e9, 21e9, replace(CKPT, gb=174)) == (26e9, 174)  # the image, and what programs write beside it
    assert on_disk(22e9, 21e9, CKPT) == (22e9, 0)
    with pytest.raises(Refused, match="need 174 GB"):
        on_disk(200e9, 21e9, replace(CKPT, gb=173))


def needs(volume: Volume) -> Needs:
    return Needs(("h100-sxm",), 8, disk_gb=50, volume=volume)


def test_a_network_volume_leaves_only_the_machines_of_its_region():
    here = an_offer(provider="runpod", region="US-KS-2", tier="secure", id="here", machine="")
    others = [
        replace(here, id="elsewhere", region="EU-RO-1"),
        replace(here, id="anywhere", region=""),
        replace(here, id="community", tier="community"),
        an_offer(id="vast"),
    ]
    sifted = sift([here, *others], needs(CKPT), Wishes())
    assert [one.id for one in sifted.kept] == ["here"]
    assert {row.offer.id: row.failures[0].limit for row in sifted.dropped} == dict.fromkeys(
        ("elsewhere", "anywhere", "community", "vast"), "volume"
    )
    assert "in EU-RO-1, and volume ckpt (2q9m7x4c) is in US-KS-2" in [row.why for row in sifted.dropped]


def test_a_local_volume_leaves_its_one_machine_which_is_asked_for():
    sifted = sift([an_offer(), an_offer(id="2", machine="7")], needs(LOCAL), Wishes())
    assert [one.machine for one in sifted.kept] == ["88888"]
    assert question(needs(LOCAL), Wishes()).machine == "88888"
    assert question(needs(CKPT), Wishes()).machine == ""


def test_the_run_knows_its_volume_and_so_does_a_relaunch():
    made = recipe(load("h100-fp8"), "night", IMAGE, needs(CKPT), Limits(hours=1.0))
    box = made.on(priced(an_offer(provider="runpod")))
    assert (box.volume, box.mount) == ("2q9m7x4c", "/workspace")
    assert box.env["STOKER_END_INSTANCE"] == "1"  # the checkpoints outlive the machine
    assert boxes.restored(boxes.stored(box), {}).volume == "2q9m7x4c"
    kept = boxes.stored(box)
    del kept["volume"]  # of a ledger from before
    assert boxes.restored(kept, {}).volume == ""
    assert restored(stored(CKPT)) == CKPT and restored(stored(LOCAL)) == LOCAL and restored(None) is None


def test_ending_a_run_tells_what_goes_on_billing():
    class Books:
        def run(self, name: str) -> Run:
            return Run(name, plan={"volume": stored(CKPT) if name == "night" else None})

    [said] = left_behind(Books(), ["night", "day"])
    assert said.startswith(f"volume {told(CKPT)}") and "7.00 USD/month" in said and "bills until" in said


def relaunched(volume: Volume, remote: str) -> tuple[Needs, str]:
    """What the next machine needs, and what is attached to it, when it is another one than before."""
    made = recipe(load("h100-fp8"), "night", IMAGE, needs(volume), Limits(hours=1.0), remote=remote)
    kept = {"container": boxes.stored(made.on(priced(an_offer()))), "volume": stored(volume)}
    run = Run("night", plan={**kept, "needs": {"volume_gb": 150}}, remote=remote)
    box = container(run, an_offer(machine="7"), Decimal(16), {}, None, datetime.now(UTC), 1.0)
    return on_its_volume(run, Needs(("h100-sxm",), 8, disk_gb=50)), box.volume


def test_after_a_loss_it_is_looked_for_where_the_volume_is():
    assert relaunched(CKPT, "hf://a/b/c")[0].volume == CKPT
    assert relaunched(LOCAL, "")[0].volume == LOCAL


def test_a_volume_that_was_lost_with_its_machine_does_not_hold_the_run_back_that_has_a_remote():
    wanted, attached = relaunched(LOCAL, "hf://a/b/c")
    assert (wanted.volume, wanted.disk_gb, attached) == (None, 200, "")
