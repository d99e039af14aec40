"""stoker.yaml and STOKER_*: the later one rules, and what is none of ours is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from profiles.errors import WrongInput
from profiles.settings import settings


def test_the_environment_outranks_the_file(tmp_path: Path) -> None:
    (tmp_path / "stoker.yaml").write_text("profile: cpu\nregistry: here/x\n")
    assert settings(tmp_path, {"STOKER_PROFILE": "h100-fp8"}) == {"profile": "h100-fp8", "registry": "here/x"}


@pytest.mark.parametrize(
    ("text", "what", "next_step"),
    [
        ("regstry: x\n", "'regstry' is not a setting", "registry"),
        ("insecure_registries: [a, b]\n", "`insecure_registries` must be one text", "HOST:PORT,..."),
        ("- cpu\n", "`name: value` lines", "profile"),
        ("a: b\n\tc\n", "stoker.yaml:2:1 is not YAML", "fix that line"),
    ],
)
def test_what_cannot_be_a_setting(tmp_path: Path, text: str, what: str, next_step: str) -> None:
    (tmp_path / "stoker.yaml").write_text(text)
    with pytest.raises(WrongInput) as caught:
        settings(tmp_path, {})
    assert what in caught.value.what and next_step in caught.value.next_step
