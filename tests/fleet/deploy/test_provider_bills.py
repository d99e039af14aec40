"""What providers billed stands beside what was counted; more than a twentieth above it is a warning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fleet.deploy.bills import Bill, bills
from fleet.ledger.values import Known
from fleet.providers.bills import Billed, Bills
from fleet.providers.values import Instance, State
from fleet.wire.failed import ProviderFailed
from tests.fleet.deploy.shelf import Stall, Tick

MADE = datetime(2026, 11, 21, 9, tzinfo=UTC)
ONE = Bill("night", "vast", "7", Decimal("10.00"))


def billed(usd: str, traffic: str = "0") -> Bill:
    return replace(ONE, billed=Billed(Decimal(usd), Decimal(traffic)))


@dataclass
class Shop(Stall):
    """One that tells its bill."""

    book: dict[str, Billed] | None = None

    def billed(self, id: str, since: datetime, until: datetime) -> Billed | None:
        self.answers()
        assert since < MADE and until >= MADE
        return (self.book or {}).get(id)


class Books:
    """As much of a ledger as is asked."""

    def known(self, run: str) -> list[Known]:
        found = [Instance(name, id, "", State.RUNNING) for name, id in (("vast", "7"), ("hyperbolic", "8"))]
        return [Known(one, run, MADE, MADE, Decimal(2), False, ended=MADE + timedelta(hours=5)) for one in found]

    def instance_cost(self, provider: str, id: str) -> Decimal:
        return Decimal("10.00")


@pytest.mark.parametrize(
    ("usd", "traffic", "above"),
    [("9.00", "0", False), ("10.50", "0", False), ("10.52", "0", True), ("12.00", "1.60", False), ("0", "0", False)],
)
def test_only_hours_that_cost_more_than_was_counted_are_a_warning(usd: str, traffic: str, above: bool):
    assert billed(usd, traffic).above is above


def test_both_figures_are_told_and_the_traffic_that_nobody_counts():
    assert billed("10.00").words == "vast 7: billed by vast 10.00 USD, counted 10.00 USD"
    assert "12.00 USD (1.60 of it traffic), counted 10.00 USD" in billed("12.00", "1.60").words
    assert "more than was counted" in billed("20.00").words
    assert "has billed nothing yet" in ONE.words and not ONE.above
    assert billed("12.00", "1.60").to_json()["billed_usd"] == "12.00"


def test_those_that_tell_are_asked_and_one_that_does_not_answer_is_told():
    told, silent = Shop("vast", book={"7": Billed(Decimal("12.34"))}), Stall("hyperbolic")
    assert isinstance(told, Bills) and not isinstance(silent, Bills)
    [one] = bills(Books(), ["night"], {"vast": told, "hyperbolic": silent}, Tick())
    assert (one.id, one.billed, one.counted) == ("7", Billed(Decimal("12.34")), Decimal("10.00"))
    [late] = bills(Books(), ["night"], {"vast": Shop("vast"), "hyperbolic": silent}, Tick())
    assert late.billed is None and not late.why
    [down] = bills(Books(), ["night"], {"vast": Shop("vast", down=True)}, Tick())
    assert "503 down for repair" in down.words and down.to_json()["failed"]
    with pytest.raises(ProviderFailed):
        Shop("vast", down=True).billed("7", MADE, MADE)
