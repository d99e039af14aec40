"""What `plan` cannot answer is told in two lines: what is wrong, and what would be right. Exit code 2."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.plan_command import Command

GPU = "--gpu h100-sxm --gpu-count 8 --offline"
WRONG = [
    # names, with the nearest
    (f"--preset d64x {GPU}", "preset 'd64x'", "d64"),
    (f"--model lama-3-8b {GPU}", "unknown model `lama-3-8b`", "llama-3-8b"),
    (f"--model-size mediu {GPU}", "--model-size mediu", "--model-size medium"),
    ("--profile h100-fp", "unknown profile `h100-fp`", "h100-fp8"),
    ("--preset d24 --gpu h100sxm", "unknown GPU `h100sxm`", "`h100-sxm`"),
    (f"--preset d24 --precision fp9 {GPU}", "--precision fp9", "fp8"),
    (f"--preset d24 --offload optimiser {GPU}", "--offload optimiser", "optimizer"),
    (f"--preset d24 --checkpointing ful {GPU}", "--checkpointing ful", "full"),
    (f"--preset d24 --optimizer adam {GPU}", "--optimizer adam", "adamw"),
    (f"--preset d24 --set model.widht=8 {GPU}", "model.widht", "width"),
    (f"--preset d24 --price h100sxm=2 {GPU}", "unknown GPU `h100sxm`", "h100-sxm"),
    # nothing, or half of something
    ("", "no model is named", "--preset NAME"),
    (f"--layers 24 {GPU}", "--width and --heads", "add --width and --heads"),
    ("--profile cpu", "profile cpu has no GPU", "--gpu TYPE"),
    # contradictions
    (f"--preset d24 --tokens 1B --hours 3 --budget 100 {GPU}", "--tokens and --hours and --budget", "leave"),
    (f"--preset d24 --steps 5 --epochs 2 {GPU}", "--steps and --epochs", "leave"),
    (f"--model llama-3-8b --preset d24 {GPU}", "--preset and --model contradict", "leave --model out"),
    (f"--model-size small --depth 12 {GPU}", "--model-size and --depth contradict", "leave --depth out"),
    (f"--depth 12 --layers 12 {GPU}", "--depth and --layers contradict", "leave --layers out"),
    (f"--preset d24 --layers 12 {GPU}", "--layers contradicts preset d24", "give one"),
    (f"--model llama-3-8b --set model.width=8 {GPU}", "contradicts --model llama-3-8b", "leave one out"),
    (f"--preset d24 --batch 64 --batch-tokens 1M {GPU}", "--batch and --batch-tokens", "give one"),
    (f"--preset d24 --epochs 3 {GPU}", "--epochs needs the size of the dataset", "--dataset-tokens"),
    (f"--preset d24 --optimizer muon --zero 3 {GPU}", "Muon", "adamw"),
    (
        f"--preset gpt2-1b --offload parameters --zero 2 {GPU}",
        "parallel.offload parameters needs parallel.zero=3",
        "change one",
    ),
    (f"--preset d24 --budget 100 {GPU}", "--budget needs a price", "--price"),
    ("--run here --preset d24", "--preset means nothing", "leave --preset out"),
    # what does not divide, with the nearest that does
    (f"--preset gpt2-1b --heads 15 {GPU}", "heads 15 does not divide model.width 2048", "16"),
    (f"--preset d24 --batch 100 {GPU}", "does not divide among 8 GPUs", "--batch 96 or 104"),
    (f"--preset d24 --device-batch-size 5 {GPU}", "8 GPUs with micro-batches of 5", "--batch 240 or 280"),
    (f"--preset d24 --batch-tokens 500000 {GPU}", "no whole number of sequences", "499712 or 501760"),
    (f"--depth 13 {GPU}", "832 of width are no whole heads", "--depth 12 or 14"),
    # what the GPU cannot do
    ("--preset d24 --precision fp8 --gpu a100-80-sxm --gpu-count 8 --offline", "fp8-current does not run", "bf16"),
    ("--preset d24 --precision mxfp8 --gpu h100-sxm --gpu-count 8 --offline", "mxfp8 does not run", "fp8-current"),
    # numbers
    ("--preset d24 --gpu h100-sxm --gpu-count 0", "--gpu-count 0 is too small", "at least 1"),
    ("--preset d24 --gpu h100-sxm --gpu-count 1000000", "--gpu-count 1000000", "at most 16,384"),
    (f"--preset d24 --zero 7 {GPU}", "--zero 7 is not known", "0, 1, 2, 3"),
    (f"--preset gpt2-124m --length 1M --batch-tokens 1000 {GPU}", "--batch-tokens", "1000000"),
    (f"--model gpt2 --length 4096 {GPU}", "4,096 tokens", "1,024"),
    # what would not be written
    (f"--preset d24 --plot nowhere/out.html {GPU}", "there is no folder nowhere", "mkdir -p nowhere"),
    (f"--preset d24 --plot . {GPU}", "is a folder", "plan.html"),
    # what the trainer would refuse on the machine
    (f"--preset d24 --offload optimizer {GPU}", "Muon's state cannot be offloaded", "--optimizer adamw"),
    ("--run nowhere", "no run at nowhere", "train --run"),
    ("--learn nowhere", "no run at nowhere", "train --run"),
]
NUMBERS = (
    *("depth", "length", "batch", "batch-tokens", "device-batch-size", "tokens", "steps", "epochs", "hours", "budget"),
    *("dataset-tokens", "gpu-count", "price", "max-price", "link-mbit"),
)


def two_lines(err: str) -> tuple[str, str]:
    error, step = err.splitlines()
    assert error.startswith("error: ") and step.startswith("  next: ")
    return error, step


@pytest.mark.parametrize(("words", "what", "next_step"), WRONG, ids=[words for words, _, _ in WRONG])
def test_wrong_input_names_what_would_be_right(plan: Command, words: str, what: str, next_step: str):
    said = plan(*words.split())
    error, step = two_lines(said.err)
    assert (said.code, said.out) == (2, "")
    assert what in error
    assert next_step in step


@pytest.mark.parametrize("value", ["0", "-3", "nan", "inf", "1e40", "twelve", "12x"])
@pytest.mark.parametrize("flag", NUMBERS)
def test_every_number_is_checked_under_its_own_flag(plan: Command, flag: str, value: str):
    model = () if flag == "depth" else ("--preset", "d24")
    beside = ("--dataset-tokens=1B",) if flag == "epochs" else ("--price=2",) if flag == "budget" else ()
    machine = ("--gpu=h100-sxm",) if flag == "gpu-count" else ("--gpu=h100-sxm", "--gpu-count=8")
    said = plan(*model, *machine, *beside, "--offline", f"--{flag}={value}")
    assert (said.code, said.out) == (2, ""), said.err
    assert f"--{flag}" in two_lines(said.err)[0]


def test_a_budget_that_buys_nothing_is_told_the_smallest_useful_one(plan: Command):
    words = ("--preset", "d24", "--gpu", "h100-sxm", "--gpu-count", "8", "--price", "2.5")
    said = plan(*words, "--budget", "1")
    error, step = two_lines(said.err)
    assert said.code == 2 and "$1.00 buys not one optimizer step" in error
    smallest = step.partition("--budget is $")[2].partition(" ")[0]
    assert plan(*words, "--budget", smallest).code == 0


def test_a_page_takes_the_place_of_no_link_and_no_device(plan: Command, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "mine.html").write_text("mine")
    (tmp_path / "link.html").symlink_to("mine.html")
    (tmp_path / "dangling.html").symlink_to("nowhere.html")
    for name in ("pipe", "link.html", "dangling.html"):
        said = plan("--preset", "d24", "--gpu", "h100-sxm", "--gpu-count", "8", "--offline", "--plot", name)
        error, step = two_lines(said.err)
        assert said.code == 2 and f"--plot {name} is a link or a device" in error and "--plot plan.html" in step
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_a_budget_without_a_price_says_why_the_provider_told_none(plan: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RUNPOD_API_KEY", "a-key")
    monkeypatch.setenv("STOKER_RUNPOD_URL", "http://127.0.0.1:1")
    said = plan("--preset", "d12", "--gpu", "h100-sxm", "--budget", "100")
    error, step = two_lines(said.err)
    assert said.code == 2 and "none is known (runpod: no connection to 127.0.0.1:1" in error and "--price" in step


def test_a_page_that_cannot_be_written_is_refused_before_any_provider_is_asked(
    plan: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def asked(*words: object, **more: object) -> None:
        raise AssertionError("a provider was asked")

    monkeypatch.setenv("VAST_API_KEY", "secret")
    monkeypatch.setattr("fleet.offers.current.current", asked)
    assert plan("--preset", "d24", "--gpu", "h100-sxm", "--plot", str(tmp_path / "no" / "a.html")).code == 2
