"""No row, however odd, stops the others; nothing odd becomes an offer."""

from __future__ import annotations

import json
import math

from hypothesis import example, given
from hypothesis import strategies as some

from fleet.offers import hyperbolic, runpod, vast
from fleet.offers.offer import KINDS, Found, Question, from_json, told
from fleet.wire import fields
from profiles import gpus
from tests.fleet.offers.market import hyperbolic_row, runpod_row, vast_row

SEEN = "2026-11-21T14:02:00+00:00"
ALL = Question()
LEAF = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(),
    some.floats(),  # NaN and infinities too: Python's JSON reads them
    some.just(10**400),
    some.text(max_size=20),
    some.sampled_from(["RTX 4090", "A100 SXM4", "NVIDIA L4", "h100", "sxm5", "0.5", "1", "NONE", "-0", "1e999"]),
)
JSON = some.recursive(
    LEAF,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def spoiled(row):
    """The good row with some of its fields replaced or gone."""
    names = some.sampled_from(sorted(row))
    changed = some.dictionaries(names, JSON, max_size=4)
    return some.tuples(changed, some.sets(names, max_size=3)).map(
        lambda pair: {name: value for name, value in {**row, **pair[0]}.items() if name not in pair[1]}
    )


def sound(found: Found) -> None:
    for offer in found.offers:
        assert offer.gpu in gpus.table()
        assert offer.kind in KINDS
        assert offer.count in ALL.counts
        assert math.isfinite(offer.price)
        assert 0 < offer.price <= 1000
        assert offer.id
        json.dumps(offer.to_json(), allow_nan=False).encode("utf-8")
        assert from_json(offer.to_json()) == offer
    for text in told(found.skipped):
        assert text.isprintable()
        text.encode("utf-8")


@given(
    some.lists(JSON | spoiled(runpod_row()), max_size=4),
    some.sampled_from(ALL.counts),
    some.sampled_from(runpod.CLOUDS),
)
def test_any_row_of_runpods_is_an_offer_or_skipped(rows, count, cloud):
    sound(runpod.parse({"gpus": rows}, ALL, count, cloud, SEEN))


@given(some.lists(JSON | spoiled(vast_row()), max_size=4), some.sampled_from(sorted(vast.TYPES)))
def test_any_row_of_vasts_is_an_offer_or_skipped(rows, kind):
    sound(vast.parse({"offers": rows}, ALL, kind, SEEN))


@given(some.lists(JSON | spoiled(hyperbolic_row()), max_size=4))
def test_any_row_of_hyperbolics_is_an_offer_or_skipped(rows):
    sound(hyperbolic.parse(rows, ALL, SEEN))


@given(some.lists(spoiled(vast_row()), max_size=3))
def test_a_good_row_among_odd_ones_is_always_found(rows):
    found = vast.parse({"offers": [*rows, vast_row(id=42)]}, ALL, "on-demand", SEEN)
    assert "42" in [offer.id for offer in found.offers]


@given(JSON)
def test_whatever_is_read_back_is_an_offer_or_none(row):
    assert from_json(row) is None or isinstance(row, dict)


@given(JSON)
@example(math.inf)
@example(math.nan)
@example("1e999")
@example(10**400)
@example(True)
@example("-1")
@example("\ud800")
def test_a_field_is_what_it_says_or_nothing(value):
    row = {"it": value}
    found = fields.number(row, "it")
    assert found is None or (math.isfinite(found) and found >= 0 and not isinstance(value, bool))
    assert fields.whole(row, "it") is None or fields.whole(row, "it") == found
    assert fields.text(row, "it").isprintable()
    assert len(fields.text(row, "it")) <= fields.LONGEST
    assert fields.flag(row, "it") in (None, True, False)
    assert fields.number({}, "it") is fields.whole({}, "it") is fields.flag({}, "it") is None
