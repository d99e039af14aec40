"""Which keys are there; none is ever shown."""

from __future__ import annotations

import pytest

from fleet.wire.failed import words
from fleet.wire.keys import keys
from profiles.errors import WrongInput


def test_each_provider_has_its_variable():
    found = keys({"RUNPOD_API_KEY": "a", "VAST_API_KEY": " b\n", "HYPERBOLIC_API_KEY": "c", "OTHER": "d"})
    assert {name: key.value for name, key in found.items()} == {"runpod": "a", "vast": "b", "hyperbolic": "c"}
    assert found["vast"].source == "VAST_API_KEY"


def test_an_empty_variable_is_no_key():
    assert keys({"RUNPOD_API_KEY": " "}) == {}


def test_hyperbolics_other_name_stands_in():
    assert keys({"HYPERBOLIC_API_TOKEN": "x"})["hyperbolic"].value == "x"
    assert keys({"HYPERBOLIC_API_TOKEN": "x", "HYPERBOLIC_API_KEY": "y"})["hyperbolic"].value == "y"


def test_the_files_of_the_providers_clients_are_read_after_the_environment(tmp_path):
    (tmp_path / ".runpod").mkdir()
    (tmp_path / ".runpod/config.toml").write_text('[default]\napi_key = "from-file"\n')
    (tmp_path / ".hyperbolic").mkdir()
    (tmp_path / ".hyperbolic/api_key").write_text("plain\n")
    found = keys({}, tmp_path)
    assert {name: (key.value, key.source) for name, key in found.items()} == {
        "runpod": ("from-file", "~/.runpod/config.toml"),
        "hyperbolic": ("plain", "~/.hyperbolic/api_key"),
    }
    assert keys({"RUNPOD_API_KEY": "mine"}, tmp_path)["runpod"].value == "mine"
    assert keys({}) == {}


@pytest.mark.parametrize("content", [b"\xff", b"= =", b"[default]\napi_key = 3", b"default = 3", b""])
def test_a_file_that_cannot_be_read_holds_no_key(tmp_path, content):
    (tmp_path / ".runpod").mkdir()
    (tmp_path / ".runpod/config.toml").write_bytes(content)
    assert keys({}, tmp_path) == {}


@pytest.mark.parametrize("value", ["two words", "line\nbreak", "schlüssel", "a\x00b"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(value):
    with pytest.raises(WrongInput, match="VAST_API_KEY") as refused:
        keys({"VAST_API_KEY": value})
    assert value not in refused.value.what + refused.value.next_step


def test_a_key_is_in_no_text_of_itself():
    found = keys({"VAST_API_KEY": "very-secret"})
    assert "very-secret" not in f"{found} {found['vast']!r} {found['vast']}"


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"title":"Unauthorized","status":401,"detail":"missing bearer token"}', "", "missing bearer token"),
        (b'{"success":false,"error":"auth_error","msg":"Invalid user key"}', "auth_error", "Invalid user key"),
        (
            b'{"detail":"API requests too frequent endpoint threshold=4.5"}',
            "",
            "API requests too frequent endpoint threshold=4.5",
        ),
        (b"API requests too frequent", "", "API requests too frequent"),
        (b'{"error":{"code":"UNAVAILABLE","message":"gone"}}', "UNAVAILABLE", "gone"),
        (b'{"error":"insufficient balance"}', "insufficient balance", "insufficient balance"),
        (b"<html>error 1010</html>", "", "a page of HTML"),
        (b'{"msg": "a\\u001b[31mb\\nc"}', "", "a[31mb c"),
        (b"[]", "", ""),
        (b"", "", ""),
        (b'{"error": 5, "msg": null}', "", ""),
    ],
)
def test_an_errors_own_words_are_found_whatever_its_shape(body, code, message):
    assert words(body) == (code, message)
