"""The figures of bench/results/images.json as the table that stands in the README and in docs/images.md.

.venv/bin/python bench/table.py          # put the current figures into both
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "bench" / "results" / "images.json"
PLACES = (ROOT / "README.md", ROOT / "docs" / "images.md")
BLOCK = re.compile(r"<!-- bench -->.*?<!-- /bench -->", re.DOTALL)


def markdown(result: dict[str, Any]) -> str:
    """The table and the sentence that says what it was measured on."""
    lines = ["| what | Stoker | against | ratio | asked |", "|---|---|---|---|---|"]
    for row in result["rows"]:
        missed = " (**missed**)" if row["met"] is False else ""
        cells = (row["what"], row["shown"], row["against_shown"], row["ratio_shown"], row["reach"] + missed)
        lines.append("| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    machine, base = result["machine"], result["base"]["size"] / 1e9
    lines += [
        "",
        f"Medians of {result['runs']}, a base of {base:.1f} GB in a local registry, {machine['cores']} cores "
        f"({machine['cpu']}), against {result['against'] or 'nothing'} and skopeo, side by side in one run of "
        f"`{result['command']}`. All samples: `bench/results/images.json`.",
    ]
    return "\n".join(lines)


def filled(text: str, result: dict[str, Any]) -> str:
    """`text` with the block between the two comments replaced."""
    return BLOCK.sub(lambda _: f"<!-- bench -->\n{markdown(result)}\n<!-- /bench -->", text)


def main() -> None:
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    for path in PLACES:
        path.write_text(filled(path.read_text(encoding="utf-8"), result), encoding="utf-8")


if __name__ == "__main__":
    main()
