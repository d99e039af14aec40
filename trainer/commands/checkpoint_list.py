"""`checkpoints list` and `checkpoints best`: what there is, here or at a store, as a table or one JSON document."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from trainer.checkpoint import folder
from trainer.checkpoint.space import size
from trainer.commands import checkpoint_place as places
from trainer.commands.checkpoint_rows import WEIGHTS, WHOLE, Row, at_store, here
from trainer.errors import CHECK_FAILED, TrainerError

COLUMNS = ("checkpoint", "size", "val loss", "engine", "state", "pointers", "age")


def add_list(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `list`."""
    places.add(parser, "look at this store instead")
    parser.set_defaults(act=run_list)


def add_best(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `best`."""
    places.add(parser, "look at this store instead")
    parser.set_defaults(act=run_best)


def run_list(options: argparse.Namespace) -> int:
    """Prints them; 0 also when there is none yet."""
    if options.remote:
        rows, where = at_store(options.remote), options.remote
    else:
        run = places.run_folder(options)
        rows, where = here(run), str(run)
    if options.json:
        print(json.dumps({"where": where, "checkpoints": rows}, indent=1))
    elif rows:
        print("\n".join(table(rows)))
    else:
        print(f"{where} has no checkpoint yet")
    return 0


def run_best(options: argparse.Namespace) -> int:
    """Prints the folder (or the URL) of the one with the lowest validation loss; 1 when there is none, or damaged."""
    rows = at_store(options.remote) if options.remote else here(places.run_folder(options))
    chosen = next((row for row in rows if folder.BEST in row["pointers"]), None)
    if chosen is None:
        what = f"{options.remote or places.run_folder(options)} has no best checkpoint"
        hint = "a run has one once it was evaluated: evaluate.every, evaluate.tokens; `checkpoints list` shows all"
        raise TrainerError(what, hint, CHECK_FAILED)
    if chosen["state"] not in (WHOLE, WEIGHTS):
        hint = "`checkpoints list` shows the others; a whole one at a store: checkpoints pull URL --best"
        raise TrainerError(f"the best checkpoint, {chosen['path']}, is {chosen['state']}", hint, CHECK_FAILED)
    print(json.dumps(chosen, indent=1) if options.json else chosen["path"])
    return 0


def table(rows: Sequence[Row]) -> list[str]:
    """Lines for people."""
    cells = [list(COLUMNS), *(_cells(row) for row in rows)]
    widths = [max(len(line[number]) for line in cells) for number in range(len(COLUMNS))]
    notes = [f"{row['checkpoint']}: {row['why']}" for row in rows if row["why"]]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells] + notes


def _cells(row: Row) -> list[str]:
    state = row["state"] + (", at the store" if row["at_remote"] and "://" not in row["path"] else "")
    loss = row["val_loss"]
    return [
        row["checkpoint"],
        "-" if row["bytes"] is None else size(row["bytes"]),
        "-" if loss is None else f"{loss:.4f}",
        row["engine"] or "-",
        state,
        ", ".join(row["pointers"]) or "-",
        _since(row["age_seconds"]),
    ]


def _since(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} s"
