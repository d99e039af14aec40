"""The plans of the five first documents, as `./inv plan` makes them: their numbers and ours, side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Theirs:
    """document: S0 to S4; says: what it promises; flags: the same intent as a command."""

    document: str
    what: str
    says: str
    flags: str


DOCUMENTS = (
    Theirs(
        "S0",
        "small, d12",
        "60M parameters, 4.5 GB or less, 2 h, $6",
        "--model-size small --gpu a100-40-sxm --gpu-count 2 --price 1.50",
    ),
    Theirs(
        "S0", "medium, d20", "160M, 4.5 GB, 5 h, $40", "--model-size medium --gpu a100-80-sxm --gpu-count 4 --price 2"
    ),
    Theirs("S0", "large, d32", "410M, 10 h, $240", "--model-size large --gpu h100-sxm --gpu-count 8 --price 3"),
    Theirs(
        "S0",
        "xlarge, d48",
        "920M, 80 GB is enough, $40 to $80 an hour",
        "--model-size xlarge --gpu h100-sxm --gpu-count 8 --price 3.20",
    ),
    Theirs(
        "S1",
        '"1B" on 51.6B tokens',
        "ZeRO-3 and offload, 100k steps, 2,500 steps/h, 40 h, $316",
        "--preset gpt2-1b-guide --gpu h100-sxm --gpu-count 8 --tokens 51.6B --price 0.99",
    ),
    Theirs(
        "S1",
        "a true 1B, the same tokens",
        "-",
        "--preset gpt2-1b --gpu h100-sxm --gpu-count 8 --tokens 51.6B --price 0.99",
    ),
    Theirs(
        "S2",
        "d64 on characters for $992",
        "4.3B, 75 GB per GPU at micro-batch 4, 23k steps, 12B tokens in 31 h",
        "--preset chars-d64 --gpu h100-pcie --gpu-count 8 --budget 992 --price 4 --dataset-tokens 350M",
    ),
    Theirs(
        "S3",
        "0.6B, 2.61B tokens x 3, RTX 4090",
        "40k tokens/s, 54 h",
        "--preset superbpe-0.6b --gpu rtx4090 --gpu-count 1 --tokens 7.83B --price 2",
    ),
    Theirs(
        "S3",
        "the same, A100 40 GB",
        "100k tokens/s, 22 h, $44",
        "--preset superbpe-0.6b --gpu a100-40-sxm --gpu-count 1 --precision bf16 --tokens 7.83B --price 2",
    ),
    Theirs(
        "S3",
        "the same, A100 80 GB",
        "150k tokens/s in FP8, 14.5 h, $43",
        "--preset superbpe-0.6b --gpu a100-80-sxm --gpu-count 1 --precision bf16 --tokens 7.83B --price 2",
    ),
    Theirs(
        "S3",
        "the same, H100",
        "250k tokens/s, 8.7 h, $52",
        "--preset superbpe-0.6b --gpu h100-sxm --gpu-count 1 --tokens 7.83B --price 2",
    ),
    Theirs(
        "S3",
        "the same, 8 x H100",
        "2M tokens/s, 1.1 h, $26",
        "--preset superbpe-0.6b --gpu h100-sxm --gpu-count 8 --tokens 7.83B --price 2",
    ),
    Theirs(
        "S4", "d26, resumable, on Hyperbolic", "no numbers", "--preset d26 --gpu h100-sxm --gpu-count 8 --price 3.20"
    ),
)


def plans() -> list[dict[str, Any]]:
    """Each with its command, what the document says, and what the command answers."""
    return [
        {
            "document": one.document,
            "what": one.what,
            "theirs": one.says,
            "command": f"./inv plan {one.flags} --offline",
            "ours": words(document(one.flags.split())),
        }
        for one in DOCUMENTS
    ]


def document(flags: list[str]) -> dict[str, Any]:
    """What `./inv plan FLAGS --json` prints."""
    command = [sys.executable, str(ROOT / "cli" / "program.py"), "plan", *flags, "--offline", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def words(plan: dict[str, Any]) -> str:
    """The numbers that the documents are about."""
    chosen = plan["chosen"]
    setup, memory, speed, bill = (chosen[name] for name in ("setup", "memory", "speed", "bill"))
    said = f"{_short(plan['model']['parameters']['value'])} parameters, {memory['total'] / 1e9:.0f} GB a GPU"
    if not bill:
        return f"{said}: {chosen['verdict']}, {chosen['why']}"
    kept = {"none": "", "selective": ", selective checkpointing", "full": ", full checkpointing"}
    return (
        f"{said} at micro-batch {setup['micro_batch']} ({setup['precision']}, ZeRO {setup['zero']}"
        f"{kept[setup['checkpointing']]}), {_short(speed['total']['value'])} tokens/s at "
        f"{speed['mfu_bf16']['value']:.0f}% of the bf16 peak, {bill['steps']:,} steps, "
        f"{_short(bill['tokens']['value'])} tokens, {_range(bill['hours'], '{:.3g}')} h, "
        f"{_range(bill['dollars'], '{:,.0f}')} USD"
    )


def _short(value: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.0f}"


def _range(figure: dict[str, Any], form: str) -> str:
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if low is None or high is None or form.format(low) == form.format(high):
        return form.format(value)
    return f"{form.format(value)} ({form.format(low)} to {form.format(high)})"
