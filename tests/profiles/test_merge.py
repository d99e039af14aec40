"""The merge behind `extends`: the later wins, and the grouping does not matter while kinds agree."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from profiles.document import Document, Place, merge, parse, value_at

SCALAR = st.none() | st.booleans() | st.integers() | st.sampled_from(["", "x", [], [1], [1, 2]])
LETTER = st.sampled_from("abc")
# Upper-case keys hold mappings in every file, lower-case ones never do: kinds agree.
FLAT = st.dictionaries(LETTER, SCALAR, max_size=2)
INNER = st.builds(lambda low, high: {**low, **high}, FLAT, st.dictionaries(LETTER.map(str.upper), FLAT, max_size=2))
AGREEING = st.builds(lambda low, high: {**low, **high}, FLAT, st.dictionaries(LETTER.map(str.upper), INNER, max_size=2))
ANY: st.SearchStrategy[Any] = st.recursive(SCALAR, lambda inner: st.dictionaries(LETTER, inner, max_size=3))
TREES = st.dictionaries(LETTER, ANY, max_size=3)


@given(AGREEING, AGREEING, AGREEING)
def test_grouping_does_not_matter_while_kinds_agree(a: Any, b: Any, c: Any) -> None:
    assert merge(merge(a, b), c) == merge(a, merge(b, c))


@given(TREES, TREES)
def test_the_later_wins_wherever_it_says_something(below: Any, above: Any) -> None:
    merged = merge(below, above)
    assert merged.keys() == below.keys() | above.keys()
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            assert merged[key] == merge(below[key], value)
        else:
            assert merged[key] == value
    for key in below.keys() - above.keys():
        assert merged[key] == below[key]


@given(TREES)
def test_nothing_over_something_and_something_over_nothing(tree: Any) -> None:
    assert merge(tree, {}) == tree == merge({}, tree) == merge(tree, tree)


def test_a_null_in_the_middle_clears_what_lies_under_it() -> None:
    assert merge(merge({"gpu": {"type": "b200", "count": 8}}, {"gpu": None}), {"gpu": {"count": 1}}) == {
        "gpu": {"count": 1}
    }


def document(tree: dict[str, Any], path: str) -> Document:
    """A document with a place for every key, as `parse` makes it; line 1, the column counts the keys."""
    places: dict[Any, Place] = {(): Place(path, 1, 1)}

    def walk(value: Any, key: tuple[str | int, ...]) -> None:
        children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, inner in children:
            places[(*key, name)] = Place(path, 1, len(places))
            walk(inner, (*key, name))

    walk(tree, ())
    return Document(tree, places)


@given(TREES, TREES)
def test_each_value_keeps_the_place_of_the_file_that_decided_it(below: Any, above: Any) -> None:
    merged = document(below, "below").under(document(above, "above"))

    def walk(value: Any, key: tuple[str | int, ...]) -> None:
        children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, inner in children:
            inner_key = (*key, name)
            assert value_at(merged.values, inner_key) == inner
            place = merged.places[inner_key]
            assert value_at({"below": below, "above": above}[place.path], inner_key) is not None or inner is None
            walk(inner, inner_key)

    walk(merged.values, ())
    assert set(merged.places) == {()} | set(keys(merged.values, ()))


def keys(value: Any, key: tuple[str | int, ...]) -> list[tuple[str | int, ...]]:
    """All key paths of a tree."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for name, inner in children for path in ((*key, name), *keys(inner, (*key, name)))]


def test_yaml_merge_keys_are_resolved_and_have_places() -> None:
    parsed = parse("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n", "f")
    assert parsed.values["b"] == {"x": 1, "y": 3}
    assert str(parsed.place(("b", "y"))) == "f:4:3"
    assert str(parsed.place(("b", "z"))) == "f:2:1"
