"""Secrets come from the environment by name; nothing that is printed, stored or typed holds one."""

from __future__ import annotations

import pytest

from fleet.deploy import dryrun, secrets
from fleet.providers.values import Shown
from profiles.errors import WrongInput

TOKEN = "hf_" + "Q7w8E9r1T2y3U4i5O6p7A8s9D1f2G3h4J5"


def test_only_the_names_that_the_image_reads_are_taken():
    environ = {"HF_TOKEN": TOKEN, "GITHUB_TOKEN": "x" * 40, "RUNPOD_API_KEY": "y" * 40, "WANDB_API_KEY": " "}
    assert secrets.found(environ) == {"HF_TOKEN": TOKEN}


def test_the_names_are_the_run_script_s_own():
    from tests.conftest import ROOT

    files = [path for path in (ROOT / "templates/run").iterdir() if path.is_file()]
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    told = {line.partition("|")[0] for line in lines if "|<secret>|" in line}
    assert set(secrets.NAMES) == told - {"PUBLIC_KEY", "STOKER_SECRETS"}


def test_a_value_with_a_line_break_is_told_by_its_name_alone():
    with pytest.raises(WrongInput) as refused:
        secrets.found({"HF_TOKEN": f"{TOKEN}\nmore"})
    assert "HF_TOKEN" in refused.value.what and TOKEN not in refused.value.what


@pytest.mark.parametrize("text", [f"HF_TOKEN={TOKEN}", "MY_API_KEY=abcdef0123", f"NOTE={TOKEN}", "WANDB_API_KEY=x"])
def test_a_secret_on_the_command_line_is_refused(text: str):
    with pytest.raises(WrongInput) as refused:
        secrets.typed([text])
    assert TOKEN not in refused.value.what + refused.value.next_step


def test_plain_variables_are_taken():
    assert secrets.typed(["NCCL_DEBUG=INFO", "A=b=c"]) == {"NCCL_DEBUG": "INFO", "A": "b=c"}


@pytest.mark.parametrize("text", ["A", "1A=b", "PATH=/x", "A=b\nc"])
def test_what_is_no_variable_of_a_container_is_told(text: str):
    with pytest.raises(WrongInput):
        secrets.typed([text])


def test_a_store_s_usual_keys_are_missed():
    assert secrets.missing_for("hf://me/x", {}) == ["HF_TOKEN"]
    assert secrets.missing_for("hf://me/x", {"HF_TOKEN": TOKEN}) == []
    assert secrets.missing_for("file:///mnt/x", {}) == []


def test_what_a_client_forgot_to_mask_is_masked_before_it_is_printed():
    shown = Shown("vast", "PUT", "/", {"env": {"HF_TOKEN": TOKEN}, "n": 2}, f"with {TOKEN}")
    (row,) = dryrun.rows([shown], {"HF_TOKEN": TOKEN})
    assert TOKEN not in str(row) and row["body"]["n"] == 2
