from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.registry.challenge import covers, parse, usable

BEARER = 'Bearer realm="https://a/t?x=1,2",service="s",scope="repository:a:pull,push repository:b:pull"'


@pytest.mark.parametrize(
    ("values", "schemes"),
    [
        ([BEARER], ["bearer"]),
        (["Negotiate", 'Basic realm="x"'], ["negotiate", "basic"]),
        (['Negotiate, Basic realm="x"'], ["negotiate", "basic"]),
        (['NTLM TlRMTVNTUAAB==, Bearer realm="https://a"'], ["ntlm", "bearer"]),
        (['Digest realm="a \\"b\\"", nonce=xyz, Basic realm=x'], ["digest", "basic"]),
        (["Basic"], ["basic"]),
        (["", "=,,"], []),
    ],
)
def test_several_challenges_are_told_apart(values: list[str], schemes: list[str]) -> None:
    assert [challenge.scheme for challenge in parse(values)] == schemes


def test_commas_inside_quotes_stay() -> None:
    (challenge,) = parse([BEARER])
    assert challenge.params["realm"] == "https://a/t?x=1,2"
    assert challenge.params["scope"].split() == ["repository:a:pull,push", "repository:b:pull"]


def test_a_bearer_without_realm_is_of_no_use() -> None:
    found = usable(['Bearer service="x"', 'Basic realm="y"'])
    assert found is not None
    assert found.scheme == "basic"


@given(st.lists(st.text(max_size=80), max_size=3))
def test_any_header_can_be_read(values: list[str]) -> None:
    parse(values)


def test_push_and_pull_cover_pull() -> None:
    assert covers(["repository:a:pull,push"], ["repository:a:pull"])
    assert not covers(["repository:a:pull"], ["repository:a:pull,push"])
    assert not covers(["repository:a:pull"], ["repository:b:pull"])
