"""Bodies for providers: rendered from templates where every value is quoted, shown without any secret."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from fleet.providers.masked import MASK, hidden, masked, told
from fleet.providers.rendered import FOLDER, of_a_run, of_the_plan, rendered
from fleet.providers.values import Container, Login

TOKEN = "hf_" + "Q7w8E9r1T2y3U4i5O6p7A8s9D1f2G3h4J5"
TEXT = st.text(max_size=40)


@given(TEXT)
def test_any_text_arrives_as_it_is(text: str):
    body = rendered("hyperbolic", "terminate", {"rental_id": 7, "reason": text})
    assert body == {"rentalId": 7, "reason": text}


def test_a_value_that_is_missing_is_a_mistake_and_not_an_empty_text():
    with pytest.raises((UndefinedError, TypeError)):
        rendered("hyperbolic", "terminate", {"rental_id": 7})


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*/*.json.j2")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_value_of_every_template_is_quoted_as_json(path):
    printed = [part.partition("}}")[0] for part in path.read_text(encoding="utf-8").split("{{")[1:]]
    assert printed and all("tojson" in part for part in printed)


def test_what_is_of_a_run_and_what_is_of_the_plan_are_everything_and_share_nothing():
    env = {"STOKER_DEADLINE": "1", "STOKER_NEW": "2", "TRAINING_HOURS": "3", "NCCL_DEBUG": "INFO"}
    assert of_the_plan(env) == {"NCCL_DEBUG": "INFO"}
    assert of_a_run(env) | of_the_plan(env) == env


def test_a_secret_is_masked_wherever_it_stands():
    body = {"env": {"HF_TOKEN": TOKEN}, "args": ["--token", (f"x{TOKEN}y",)], TOKEN: 1, "n": 2, "no": None}
    shown = masked(body, [TOKEN])
    assert TOKEN not in str(shown)
    assert shown["n"] == 2 and shown["no"] is None and shown["args"][1] == [f"x{MASK}y"]


def test_a_secret_that_holds_another_leaves_no_rest_of_itself():
    assert masked("abcdef abc", ["abc", "abcdef", ""]) == f"{MASK} {MASK}"


@settings(max_examples=40)
@given(st.dictionaries(TEXT, TEXT | st.integers()), st.lists(st.text("0123456789", min_size=4), max_size=3))
def test_what_is_masked_is_json_still_and_holds_none_of_it(body, hidden):
    texts = [text for text in json.loads(json.dumps(masked(body, hidden))) if isinstance(text, str)]
    assert not any(secret in text for secret in hidden for text in texts)


def test_a_providers_words_hold_no_secret_even_when_they_are_cut_in_its_middle():
    words = told(f"bad request: HF_TOKEN={TOKEN}, again {TOKEN[:12]}", [TOKEN, ""])
    assert TOKEN[:8] not in words and words.startswith("bad request: HF_TOKEN=***")


def test_a_secret_of_several_lines_is_masked_on_one():
    assert "abcdefghij" not in told("x 0123456789 abcdefghij", ["0123456789\nabcdefghij"])


def test_what_may_never_be_told_are_the_secrets_and_the_registrys_password():
    container = Container("n", "i", secrets={"A": "one"}, login=Login("r", "bob", "two"))
    assert hidden(container) == ["one", "two"]
