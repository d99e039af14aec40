"""The figures of bench/results/ as the tables that stand in the README and some pages of docs/.

.venv/bin/python bench/table.py          # put the current figures into all of them
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "bench" / "results" / "images.json"
PLACES = (ROOT / "README.md", ROOT / "docs" / "images.md")
BLOCK = re.compile(r"<!-- bench -->.*?<!-- /bench -->", re.DOTALL)
RESUME_RESULT = ROOT / "bench" / "results" / "resume.json"
RESUME_PLACE = ROOT / "docs" / "resume.md"
RESUME_BLOCK = re.compile(r"<!-- resume -->.*?<!-- /resume -->", re.DOTALL)
PLAN_RESULT = ROOT / "bench" / "results" / "plan.json"
PLANNING, SEEDS = ROOT / "docs" / "planning.md", ROOT / "docs" / "seeds.md"
FLEET_RESULT, PROVIDERS = ROOT / "bench" / "results" / "fleet.json", ROOT / "docs" / "providers.md"


def lines_of(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A table in Markdown."""
    clean = [[str(cell).replace("|", "/").replace("\n", " ") for cell in row] for row in rows]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in clean)]


def asked(row: dict[str, Any]) -> str:
    """The reach, and that it was missed."""
    return str(row["reach"]) + (" (**missed**)" if row["met"] is False else "")


def markdown(result: dict[str, Any]) -> str:
    """The table of the images and the sentence that says what it was measured on."""
    rows = [(row["what"], row["shown"], row["against_shown"], row["ratio_shown"], asked(row)) for row in result["rows"]]
    machine, base = result["machine"], result["base"]["size"] / 1e9
    words = (
        f"Medians of {result['runs']}, a base of {base:.1f} GB in a local registry, {machine['cores']} cores "
        f"({machine['cpu']}), against {result['against'] or 'nothing'} and skopeo, side by side in one run of "
        f"`{result['command']}`. All samples: `bench/results/images.json`."
    )
    return "\n".join([*lines_of(("what", "Stoker", "against", "ratio", "asked"), rows), "", words])


def resume_markdown(result: dict[str, Any]) -> str:
    """The table of docs/resume.md and its sentence."""
    rows = []
    for row in result["rows"]:
        against = row["against_shown"]
        if row["ratio"] is not None:
            against += f" ({row['ratio']:.3g}x)"
        rows.append((row["what"], row["shown"], against, asked(row)))
    machine = result["machine"]
    minutes = sum(result["seconds"].values()) / 60
    words = (
        f"{machine['cores']} cores ({machine['cpu']}), by `{result['command']}`, {minutes:.0f} minutes in all; what is "
        "compared stood side by side. [All samples](../bench/results/resume.json)."
    )
    return "\n".join([*lines_of(("what", "Stoker", "against", "asked"), rows), "", words])


def filled(text: str, result: dict[str, Any]) -> str:
    """`text` with the block between the two comments replaced."""
    return BLOCK.sub(lambda _: f"<!-- bench -->\n{markdown(result)}\n<!-- /bench -->", text)


def resume_filled(text: str, result: dict[str, Any]) -> str:
    """The same for the block of docs/resume.md."""
    return RESUME_BLOCK.sub(lambda _: f"<!-- resume -->\n{resume_markdown(result)}\n<!-- /resume -->", text)


def plan_markdown(result: dict[str, Any]) -> str:
    """The accuracy table of docs/planning.md and its sentence."""
    rows = [(row["what"], row["shown"], row["against_shown"], asked(row)) for row in result["rows"]]
    left_out = "; ".join(f"{one['name']}: {one['why']}" for one in result["left_out"]) or "none"
    words = (
        f"By `{result['command']}` over `tests/data/throughput_public.csv` and `tests/data/whole_runs.csv`; times on "
        f"{result['machine']['cores']} cores ({result['machine']['cpu']}). Not modelled: {left_out}. "
        "[Every row](../bench/results/plan.json)."
    )
    return "\n".join([*lines_of(("what", "Stoker", "and", "asked"), rows), "", words])


def batches_markdown(result: dict[str, Any]) -> str:
    """The batch-size table: sequences at once on one GPU, and thousands of tokens per second."""
    told = result["batches"]
    by_gpu: dict[str, list[str]] = {}
    for cell in told["cells"]:
        kept = {"none": "", "selective": " s", "full": " f"}.get(cell["checkpointing"], "")
        said = f"{cell['micro_batch']}{kept} ({cell['tokens_per_second'] / 1e3:.0f}k)" if cell["micro_batch"] else "-"
        by_gpu.setdefault(f"{cell['gpu']}, {cell['precision']}", []).append(said)
    head = ("GPU", *(f"{length:,}" for length in told["lengths"]))
    words = (
        f"Preset `{told['preset']}` on one GPU: sequences at once that surely fit, by sequence length, and tokens/s "
        "with them; s, f: with selective or full checkpointing, where that is faster."
    )
    return "\n".join([*lines_of(head, [(name, *cells) for name, cells in by_gpu.items()]), "", words])


def seeds_markdown(result: dict[str, Any]) -> str:
    """The documents' plans and ours, and the commands that made ours."""
    rows = [(one["document"], one["what"], one["theirs"], one["ours"]) for one in result["plans"]]
    commands = [f"- {one['document']}, {one['what']}: `{one['command']}`" for one in result["plans"]]
    words = (
        "Without a number of tokens a plan takes the preset's steps, 20 tokens per parameter of the blocks. Ranges are "
        "what the planner expects, not guarantees. The commands:"
    )
    return "\n".join([*lines_of(("document", "plan", "theirs", "ours"), rows), "", words, "", *commands])


def fleet_markdown(result: dict[str, Any]) -> str:
    """The proofs of docs/providers.md and how they were made."""
    rows = [(row["what"], row["shown"], asked(row)) for row in result["rows"]]
    machine, hours = result["machine"], sum(result["seconds"].values()) / 3600
    words = (
        f"By `{result['command']}`, part by part, {hours:.1f} hours in all on {machine['cores']} cores "
        f"({machine['cpu']}), against the simulators. [All figures](../bench/results/fleet.json); a short form of each "
        "is a test (`tests/bench/test_bench_fleet.py`)."
    )
    return "\n".join([*lines_of(("what", "found", "asked"), rows), "", words])


def put(text: str, mark: str, table: str) -> str:
    """`text` with what stands between <!-- mark --> and <!-- /mark --> replaced."""
    block = re.compile(rf"<!-- {mark} -->.*?<!-- /{mark} -->", re.DOTALL)
    return block.sub(lambda _: f"<!-- {mark} -->\n{table}\n<!-- /{mark} -->", text)


def planning_filled(text: str, result: dict[str, Any]) -> str:
    """docs/planning.md with its two tables."""
    return put(put(text, "plan", plan_markdown(result)), "batches", batches_markdown(result))


def main() -> None:
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    for path in PLACES:
        path.write_text(filled(path.read_text(encoding="utf-8"), result), encoding="utf-8")
    if RESUME_RESULT.is_file():
        told = json.loads(RESUME_RESULT.read_text(encoding="utf-8"))
        page = resume_filled(RESUME_PLACE.read_text(encoding="utf-8"), told)
        RESUME_PLACE.write_text(page, encoding="utf-8")
    planned = json.loads(PLAN_RESULT.read_text(encoding="utf-8"))
    PLANNING.write_text(planning_filled(PLANNING.read_text(encoding="utf-8"), planned), encoding="utf-8")
    proven = json.loads(FLEET_RESULT.read_text(encoding="utf-8"))
    PROVIDERS.write_text(put(PROVIDERS.read_text(encoding="utf-8"), "fleet", fleet_markdown(proven)), encoding="utf-8")
    SEEDS.write_text(put(SEEDS.read_text(encoding="utf-8"), "seeds", seeds_markdown(planned)), encoding="utf-8")


if __name__ == "__main__":
    main()
