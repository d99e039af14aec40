"""What --dry-run prints: the requests that would be sent, without one secret, and without asking anybody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from fleet.offers.offer import INTERRUPTIBLE
from fleet.providers.values import Login
from fleet.providers.vast.client import Vast
from profiles.errors import WrongInput
from tests.fleet.offers.market import KEY
from tests.fleet.providers.vast.desk import AWS, PASSWORD, TOKEN, Desk, container, order, strict

DATA = Path(__file__).resolve().parents[3] / "data" / "specs"


def test_it_shows_the_secrets_the_template_and_the_order(desk: Desk, vast: Vast):
    private = container(login=Login("registry.example", "me", PASSWORD))
    shown = vast.shown(private, order(container=private))
    assert [(each.method, each.path) for each in shown] == [
        ("POST", "/api/v0/secrets/"),
        ("POST", "/api/v0/template/"),
        ("PUT", "/api/v0/asks/12345678/"),
    ]
    text = repr(shown) + json.dumps([each.body for each in shown])
    for planted in (TOKEN, AWS, PASSWORD, KEY):
        assert planted not in text
    assert "AWS_SECRET_ACCESS_KEY" in shown[-1].note
    assert desk.market.seen == []


def test_it_is_what_is_really_sent(desk: Desk, vast: Vast):
    wanted = order(container=container(secrets={"HF_TOKEN": TOKEN}))
    shown = vast.shown(wanted.container, wanted)
    template = vast.ensure_template(wanted.container)
    vast.launch(wanted)
    sent = {(seen.method, seen.path): seen.body for seen in desk.market.seen}
    assert sent["POST", "/api/v0/template/"] == shown[1].body
    body = shown[2].body
    assert isinstance(body, dict)
    assert sent["PUT", "/api/v0/asks/12345678/"] == {**body, "template_hash_id": None}
    assert template.key


def test_a_bid_is_shown_and_a_missing_one_is_told(vast: Vast):
    shown = vast.shown(container(), order(INTERRUPTIBLE, bid="0.36"))
    assert isinstance(shown[-1].body, dict) and shown[-1].body["price"] == 0.36
    with pytest.raises(WrongInput):
        vast.shown(container(), order(INTERRUPTIBLE))


def test_variables_that_may_be_too_long_are_named(vast: Vast):
    long = container(env={"PUBLIC_KEY": "ssh-rsa " + "A" * 400})
    assert vast.shown(long, order(container=long))[-1].note.endswith("256 characters of one variable: PUBLIC_KEY")
    assert "256" not in vast.shown(container(), order())[-1].note


def test_every_shown_request_is_as_the_published_file_says(vast: Vast):
    spec = strict()
    for each in vast.shown(container(), order()):
        body = each.body
        if each.path.endswith("secrets/"):
            assert isinstance(body, dict)
            body = {**body, "value": "masked"}
        assert spec.request(each.method, each.path, {}, {}, body) == []


def test_every_correction_of_the_published_file_has_its_reason():
    rows = yaml.safe_load((DATA / "vast_corrections.yaml").read_text(encoding="utf-8"))
    assert rows and all(row["why"] and row["at"] and len(set(row) - {"at", "why"}) == 1 for row in rows)
    places = [(row["at"], "add" in row) for row in rows]
    assert len(places) == len(set(places))


def test_the_extract_is_the_corrected_one():
    spec = json.loads((DATA / "vast.json").read_text(encoding="utf-8"))
    for row in yaml.safe_load((DATA / "vast_corrections.yaml").read_text(encoding="utf-8")):
        place = spec
        for part in row["at"].split("/"):
            place = place[part.replace("~1", "/")]
        if "add" in row:
            assert row["add"].items() <= place.items(), row["at"]
        elif "nullable" in row:
            assert {"type": "null"} in place["anyOf"], row["at"]
        else:
            assert place == row["set"] if "set" in row else row["remove"] not in place, row["at"]
