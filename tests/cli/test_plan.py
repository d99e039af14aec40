"""`./inv plan`: the same answer on a terminal, as JSON and as a page, by whichever flags the training is described."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.plan_flags import HELP, Flags
from fleet.capacity import models
from fleet.capacity.count import count
from tests.cli.plan_command import ROOT, Command

NODE = ("--gpu", "h100-sxm", "--gpu-count", "8", "--offline")
QUICK = (*NODE, "--zero", "0", "--checkpointing", "none")  # leaves little to search
LLAMA = 4 * (4 * 512**2 + 3 * 512 * 1024) + 9 * 512 + 2 * 50304 * 512
TOP = {
    *("format", "units", "question", "verdict", "model", "goal", "chosen", "choices", "table"),
    *("advice", "warnings", "notes", "sources"),
}
CHOSEN = {
    *("gpu", "name", "gpus", "verdict", "why", "price", "dollars_per_hour", "setup", "memory", "speed", "bill"),
    "changes",
}


def sources_in(value: object) -> list[str]:
    """The sources of all figures below a value."""
    if isinstance(value, dict):
        own = [str(value["source"])] if {"value", "unit", "source"} <= set(value) else []
        return own + [one for part in value.values() for one in sources_in(part)]
    return [one for part in value for one in sources_in(part)] if isinstance(value, list) else []


def test_a_profile_names_model_batch_precision_and_machine(plan: Command):
    found = plan("--profile", "h100-zero3", "--price", "3", "--json").document
    assert (found["model"]["layers"], found["model"]["width"], found["model"]["vocab"]) == (18, 2048, 50000)
    assert found["model"]["step_tokens"] == 512 * 2048
    chosen = found["chosen"]
    assert (chosen["gpu"], chosen["gpus"], chosen["setup"]["precision"], chosen["setup"]["zero"]) == (
        *("h100-sxm", 8, "bf16", 3),
    )
    assert chosen["setup"]["compile"] is False
    assert found["verdict"] == "fits"


def test_the_profile_of_the_settings_is_the_default_and_a_model_flag_overrules_it(
    plan: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STOKER_PROFILE", "h100-fp8")
    assert plan("--json").document["model"]["width"] == 1536
    assert plan("--preset", "gpt2-1b", *QUICK, "--json").document["model"]["width"] == 2048


def test_a_model_over_a_profile_keeps_its_machine(plan: Command):
    found = plan("--profile", "a100-80-bf16", "--preset", "d24", "--json").document
    assert (found["chosen"]["gpu"], found["model"]["layers"]) == ("a100-80-sxm", 24)
    assert found["model"]["name"] == "d24"


@pytest.mark.parametrize(
    ("words", "parameters"),
    [
        ("--model llama-3-8b", 8_030_261_248),
        ("--preset gpt2-1b", 18 * (12 * 2048**2 + 13 * 2048) + 2 * 2048 + 50304 * 2048 + 2048 * 2048),
        ("--model gpt2-1b", 18 * (12 * 2048**2 + 13 * 2048) + 2 * 2048 + 50304 * 2048 + 2048 * 2048),
        ("--model-size small", 12 * 12 * 768**2 + 2 * 65536 * 768),
        ("--model-size xlarge", 48 * 12 * 3072**2 + 2 * 65536 * 3072),
        ("--depth 20", 20 * 12 * 1280**2 + 2 * 65536 * 1280),
        ("--depth 20 --vocab 32768", 20 * 12 * 1280**2 + 2 * 32768 * 1280),
        ("--layers 24 --width 1536 --heads 24 --vocab 50000 --length 2048", 759_905_280),
        ("--layers 4 --width 512 --heads 8 --set model.family=llama --set model.ffn=1024", LLAMA),
    ],
)
def test_each_way_to_name_a_model_counts_the_right_one(plan: Command, words: str, parameters: int):
    found = plan(*words.split(), *QUICK, "--json").document
    assert found["model"]["parameters"]["value"] == parameters


def test_flags_of_the_training_are_held_fixed(plan: Command):
    words = "--device-batch-size 4 --zero 2 --checkpointing full --precision bf16 --optimizer adamw --length 1024"
    setup = plan("--preset", "gpt2-1b", *words.split(), "--batch", "256", *NODE, "--json").document["chosen"]["setup"]
    assert (setup["micro_batch"], setup["zero"], setup["checkpointing"], setup["length"]) == (4, 2, "full", 1024)
    assert setup["micro_batch"] * setup["accumulation"] * 8 == 256
    assert (setup["precision"], setup["optimizer"]) == ("bf16", "adamw")


def test_a_batch_in_tokens_is_a_batch_in_sequences(plan: Command):
    found = plan("--preset", "gpt2-1b", "--batch-tokens", "1_048_576", *QUICK, "--json").document
    assert found["model"]["batch"] == 512


def test_a_batch_that_nobody_names_divides_among_the_gpus(plan: Command):
    found = plan("--depth", "12", "--gpu", "h100-sxm", "--gpu-count", "6", "--offline", "--json").document
    assert found["model"]["batch"] == 258
    assert any("258 sequences" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("words", "tokens"),
    [
        ("--tokens 51.6B", 51.6e9),
        ("--steps 1000", 1000 * 524_288),
        ("--epochs 3 --dataset-tokens 2.61B", 3 * 2.61e9),
        ("", 13_500 * 524_288),  # the preset's own steps
    ],
)
def test_each_goal_is_reached_to_the_step(plan: Command, words: str, tokens: float):
    bill = plan("--preset", "gpt2-350m", *words.split(), *QUICK, "--json").document["chosen"]["bill"]
    assert 0 <= bill["tokens"]["value"] - tokens < 524_288
    assert bill["steps"] * bill["step_tokens"] == bill["tokens"]["value"]


def test_without_any_goal_it_is_20_tokens_per_parameter_and_says_so(plan: Command):
    found = plan("--model", "smollm-360m", *QUICK, "--json").document
    wanted = 20 * count(models.model("smollm-360m")).total
    assert found["chosen"]["bill"]["tokens"]["value"] == pytest.approx(wanted, rel=1e-3)
    assert any("20 tokens per parameter" in note for note in found["notes"])


def test_a_budget_buys_tokens_and_says_whether_they_are_the_presets(plan: Command):
    said = plan("--preset", "d64", *NODE, "--price", "2.5", "--budget", "300", "--json")
    bill = said.document["chosen"]["bill"]
    assert bill["dollars"]["value"] == pytest.approx(300, rel=0.02)
    share = bill["tokens"]["value"] / (491_520 * 524_288)
    assert f"--budget buys {share:.0%} of the 491,520 steps that preset d64 says" in said.document["advice"]


def test_a_price_without_a_name_is_that_of_the_named_machine(plan: Command):
    found = plan("--preset", "d24", *NODE, "--price", "2.5", "--json").document
    priced = {row["gpu"] for row in found["choices"] if row["price"]}
    assert priced == {"h100-sxm"}
    found = plan("--preset", "d24", *NODE, "--price", "2.5,a100-80-sxm=1.5", "--json").document
    assert {row["gpu"]: row["price"]["value"] for row in found["choices"] if row["price"]} == {
        "h100-sxm": 2.5,
        "a100-80-sxm": 1.5,
    }


def test_the_cheapest_to_finish_is_chosen_when_several_machines_are_named(plan: Command):
    words = ("--gpu", "h100-sxm,a100-80-sxm", "--gpu-count", "4,8", "--price", "h100-sxm=2.5,a100-80-sxm=0.2")
    found = plan("--preset", "d24", *words, "--json").document
    assert len(found["choices"]) == 4
    assert found["chosen"]["gpu"] == "a100-80-sxm"
    spent = [row["dollars"]["value"] for row in found["choices"] if row["verdict"] == "fits"]
    assert found["chosen"]["bill"]["dollars"]["value"] == min(spent)


def test_a_machine_above_the_hourly_limit_is_told_as_too_dear(plan: Command):
    said = plan("--preset", "d24", *NODE, "--price", "2.5", "--max-price", "10")
    assert said.code == 1
    assert "costs more per hour than allowed" in said.out and "20.00 USD per hour" in said.out


def test_what_does_not_fit_prints_the_whole_document_and_exits_1(plan: Command):
    words = ("--preset", "d64", "--zero", "0", *NODE)
    said = plan(*words)
    assert (said.code, said.err) == (1, "")
    assert "it does not fit" in said.out and "--zero 3" in said.out
    asked = plan(*words, "--json")
    assert asked.code == 1 and asked.document["verdict"] == "refused"
    assert any(change["fits"] for change in asked.document["chosen"]["changes"])


def test_what_a_change_names_fits_when_it_is_planned(plan: Command):
    base = ("--preset", "d64", "--zero", "0", *NODE)
    fitting = [one for one in plan(*base, "--json").document["chosen"]["changes"] if one["fits"]]
    sets = [word for part in fitting[0]["setting"].split() for word in ("--set", part)]
    assert plan("--preset", "d64", *NODE, *sets, "--json").document["verdict"] == "fits"


def test_the_document_has_its_keys_and_every_figure_its_source(plan: Command):
    found = plan("--preset", "d24", *NODE, "--price", "2.5", "--json").document
    assert found["format"] == 1
    assert set(found) == TOP and set(found["chosen"]) == CHOSEN
    told = sources_in(found)
    assert len(told) > 50 and all(told)
    assert [row["gpu"] for row in found["choices"] if row["chosen"]] == ["h100-sxm"]
    assert found["question"]["preset"] == "d24"
    limits = plan("--preset", "d24", *NODE, "--price", "2.5", "--budget", "$1,000", "--max-price", "30", "--json")
    assert limits.document["question"] | {"budget": 1000.0, "max_price": 30.0} == limits.document["question"]


def test_the_document_is_plain_json_without_nan(plan: Command):
    text = plan("--preset", "d64", "--zero", "0", *NODE, "--json").out

    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(text, parse_constant=refuse)


def test_a_table_of_batch_sizes_covers_the_gpus_that_were_named(plan: Command):
    words = ("--gpu", "rtx4090,h200-sxm", "--gpu-count", "1", "--table", "--offline")
    cells = plan("--preset", "superbpe-0.6b", *words, "--json").document["table"]
    assert {cell["gpu"] for cell in cells} == {"rtx4090", "h200-sxm"}
    assert len({cell["length"] for cell in cells}) >= 8
    assert "Largest micro-batch" in plan("--preset", "superbpe-0.6b", *words).out


def test_a_page_is_written_whole(plan: Command, tmp_path: Path):
    said = plan("--preset", "d24", *NODE, "--price", "2.5", "--plot", "out.html")
    assert said.code == 0 and "wrote out.html" in said.out
    page = (tmp_path / "out.html").read_text()
    assert page.startswith("<!") and page.rstrip().endswith("</html>") and "d24" in page
    assert [path.name for path in tmp_path.iterdir() if "out.html" in path.name] == ["out.html"]


def test_sources_are_listed_on_demand(plan: Command):
    assert "price: --price 2.5" in plan("--preset", "d24", *NODE, "--price", "2.5", "--sources").out


def test_interruptions_cost_hours_on_spot_machines(plan: Command):
    words = ("--preset", "d24", *NODE, "--price", "2.5", "--json")
    safe, spot = plan(*words).document["chosen"]["bill"], plan(*words, "--spot").document["chosen"]["bill"]
    assert spot["hours"]["value"] > safe["hours"]["value"]
    assert spot["mtbf"]["value"] < safe["mtbf"]["value"]


def test_a_slow_line_makes_transfers_slower(plan: Command):
    words = ("--preset", "d24", *NODE, "--json")
    fast = plan(*words).document["chosen"]["bill"]["transfers"]["checkpoint up"]["value"]
    slow = plan(*words, "--link-mbit", "50").document["chosen"]["bill"]["transfers"]["checkpoint up"]["value"]
    assert slow == pytest.approx(10 * fast)


def test_a_provider_that_cannot_be_reached_is_one_line_and_no_failure(plan: Command, monkeypatch: pytest.MonkeyPatch):
    from fleet.offers.ask import Answer

    def current(*words: object, **more: object) -> Answer:
        return Answer(failures={"vast": "vast: no answer within 4 s; check the network, then ask again"})

    monkeypatch.setenv("VAST_API_KEY", "secret-key")
    monkeypatch.setattr("fleet.offers.current.current", current)
    said = plan("--preset", "d24", "--gpu", "h100-sxm", "--gpu-count", "8")
    assert said.code == 0
    assert "vast: no answer within 4 s" in said.out and "no price known" in said.out
    assert "secret-key" not in said.out + said.err


def test_help_has_every_flag_under_its_heading(plan: Command):
    said = plan("--help")
    assert all(f"--{name}" in said.out for name in HELP)
    assert said.out.index("Goal (") < said.out.index("--budget") < said.out.index("Machine and money")
    assert {name.replace("-", "_") for name in HELP} == set(Flags.__dataclass_fields__)


def test_the_command_itself_answers(tmp_path: Path):
    command = [sys.executable, str(ROOT / "cli/program.py"), "plan", "--profile", "h100-fp8", "--offline"]
    env = {"STOKER_HOME": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("gpt2-L24-h1536 on 8 x H100 SXM5 80GB: it fits")
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(("rate", "word"), [("12M", "impossible"), ("500k", "plausible")])
def test_a_promised_rate_is_judged(plan, rate: str, word: str):
    assert word in plan("--preset", "gpt2-1b", *NODE, "--claim", rate, "--json").document["advice"][0]
