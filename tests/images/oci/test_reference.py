from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.oci.reference import Reference, parse
from profiles.errors import StokerError, WrongInput

DIGEST = "sha256:" + "a1" * 32
part = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,5})?", fullmatch=True)
hosts = st.sampled_from(["nvcr.io", "localhost", "127.0.0.1:5000", "[::1]:5000", "docker.io", "ghcr.io:443"])
references = st.builds(
    Reference,
    hosts,
    st.lists(part, min_size=2, max_size=4).map("/".join),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True),
    st.none() | st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True),
)


@given(references)
def test_what_is_written_is_read_back(reference: Reference) -> None:
    assert parse(str(reference)) == reference


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_wrong_input(text: str) -> None:
    try:
        found = parse(text)
    except WrongInput:
        return
    assert parse(str(found)) == found


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("debian", "docker.io/library/debian"),
        ("debian:bookworm", "docker.io/library/debian:bookworm"),
        ("index.docker.io/debian", "docker.io/library/debian"),
        ("pytorch/pytorch", "docker.io/pytorch/pytorch"),
        ("localhost/x:1", "localhost/x:1"),
        ("localhost:5000/x", "localhost:5000/x"),
        ("NVCR.io/nvidia/pytorch:25.06-py3", "nvcr.io/nvidia/pytorch:25.06-py3"),
        (f"ghcr.io/a/b:v1@{DIGEST}", f"ghcr.io/a/b:v1@{DIGEST}"),
    ],
)
def test_short_names_are_filled_in_as_engines_do(text: str, full: str) -> None:
    assert str(parse(text)) == full


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ghcr.io/Acme/Trainer:v1", "did you mean 'acme/trainer'?"),
        ("https://ghcr.io/a/b", "leave out https://"),
        ("ghcr.io/a/b:no spaces", "a tag has"),
        ("ghcr.io/a b/c", "did you mean 'a-b/c'?"),
        ("ghcr.io/", "host/path:tag"),
        ("", "host/path:tag"),
        ("ghcr.io/a@sha256:12", "64 lower-case hex digits"),
        ("127.0.0.1:99999/a", "between 1 and 65535"),
        ("127.0.0.1:0/a", "between 1 and 65535"),
    ],
)
def test_what_cannot_be_read_says_what_to_write(text: str, says: str) -> None:
    with pytest.raises(WrongInput) as caught:
        parse(text)
    assert says in caught.value.next_step


def test_a_pin_goes_before_a_tag() -> None:
    reference = parse("nvcr.io/nvidia/pytorch:25.06-py3")
    assert reference.target == "25.06-py3"
    assert reference.with_digest(DIGEST).target == DIGEST
    assert parse("nvcr.io/nvidia/pytorch").target == "latest"
    with pytest.raises(StokerError):
        reference.with_tag("no/slash")
