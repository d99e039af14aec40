"""--env refuses what is a secret by its shape, or because it is one of the user's own; no message repeats it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.deploy import secrets
from profiles.errors import WrongInput

RANDOM = "Q7w8E9r1T2y3U4i5O6p7A8s9D1f2G3h4J5"
OWN = "plain-words-that-are-a-key"  # of no shape: told by where it stands
SHAPES = [
    f"sk-proj-{RANDOM}",
    f"sk-ant-api03-{RANDOM}",
    f"ghp_{RANDOM}",
    f"github_pat_{RANDOM}",
    "AKIAIOSFODNN7EXAMPLE",
    f"rpa_{RANDOM}",
    f"hf_{RANDOM}",
    f"xoxb-{RANDOM}",
    "postgres://u:pw@h/x",
    f"https://host/x?api_key={RANDOM}",
    f"Bearer {RANDOM}",
    f"before,ghp_{RANDOM}",
    OWN,
    f"--key={OWN}",
]


def typed(text: str, tmp_path: Path) -> dict[str, str]:
    return secrets.typed([text], {"RUNPOD_API_KEY": OWN, "EDITOR": "some-editor"}, tmp_path)


@pytest.mark.parametrize("value", SHAPES)
@pytest.mark.parametrize("form", ["FOO={}", "{}=x", "{}"])
def test_a_secret_is_refused_wherever_it_stands_and_never_repeated(value: str, form: str, tmp_path: Path):
    with pytest.raises(WrongInput) as refused:
        typed(form.format(value), tmp_path)
    said = f"{refused.value.what} {refused.value.next_step}"
    assert refused.value.exit_code == 2
    assert value not in said and RANDOM not in said and "pw" not in said and OWN not in said


def test_the_key_that_a_provider_s_own_client_keeps_is_one_of_the_user_s(tmp_path: Path):
    (tmp_path / ".runpod").mkdir()
    (tmp_path / ".runpod/config.toml").write_text('[default]\napi_key = "kept-in-a-file"\n', encoding="utf-8")
    with pytest.raises(WrongInput, match="one of your own"):
        secrets.typed(["FOO=kept-in-a-file"], {}, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "NCCL_DEBUG=INFO",
        "EDIT=some-editor",
        "DATA=https://host:8443/x?split=train",
        "AT=me@host",
        "WANDB_MODE=offline",
        "SHA=0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c",
        "NAME=risk-averse-and-long-enough-a-name",
        "TOKENIZERS_PARALLELISM=false",
    ],
)
def test_what_is_no_secret_is_taken(text: str, tmp_path: Path):
    name, _, value = text.partition("=")
    assert typed(text, tmp_path) == {name: value}


def test_the_step_for_a_secret_that_does_not_go_along_does_not_promise_that_it_does(tmp_path: Path):
    with pytest.raises(WrongInput) as other:
        typed("OPENAI_API_KEY=abcdef0123", tmp_path)
    assert "export OPENAI" not in other.value.next_step and "only HF_TOKEN, " in other.value.next_step
    with pytest.raises(WrongInput) as ours:
        typed(f"HF_TOKEN=hf_{RANDOM}", tmp_path)
    assert "export HF_TOKEN=..." in ours.value.next_step


@pytest.mark.parametrize(
    ("name", "step"), [("STOKER_TAG", "leave it out"), ("STOKER_REMOTE", "--remote"), ("TRAINING_HOURS", "--hours")]
)
def test_a_variable_that_the_fleet_sets_is_refused_and_not_dropped(name: str, step: str, tmp_path: Path):
    with pytest.raises(WrongInput, match=f"--env {name}: the fleet sets it") as refused:
        typed(f"{name}=x", tmp_path)
    assert refused.value.next_step == step


def test_every_variable_that_a_deploy_adds_is_one_that_cannot_be_typed():
    import ast

    from tests.conftest import ROOT

    tree = ast.parse((ROOT / "fleet/deploy/container.py").read_text("utf-8"))
    (told,) = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "told" and isinstance(node.value, ast.Dict)
    )
    assert {ast.literal_eval(key) for key in told.keys if key is not None} <= set(secrets.OURS)
