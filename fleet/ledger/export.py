"""The ledger for a spreadsheet or a script."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from fleet.ledger.money import usd
from profiles.errors import WrongInput
from profiles.nearest import nearest

if TYPE_CHECKING:
    from fleet.ledger.ledger import Ledger

TABLES = ("runs", "wishes", "attempts", "instances", "segments", "events", "checkpoints", "bad_machines")
MONEY = ("usd", "usd_hour", "most_usd_hour")  # columns of micro-USD, exported as USD
NESTED = ("plan", "offer", "body")  # columns of JSON


def exported(ledger: Ledger, what: str, form: str) -> str:
    """See Ledger.export."""
    names = (*TABLES, "costs", "all")
    if what not in names:
        near = nearest(what, names)
        raise WrongInput(f"no `{what}` to export", f"did you mean `{near}`?" if near else ", ".join(names))
    if form not in ("json", "csv"):
        raise WrongInput(f"no form `{form}`", "json or csv")
    if what == "all":
        if form == "csv":
            raise WrongInput("one CSV file holds one table", f"name one: {', '.join(names[:-1])}")
        return json.dumps({"ledger": ledger.id, **{name: rows(ledger, name) for name in names[:-1]}}, indent=1)
    found = rows(ledger, what)
    return json.dumps(found, indent=1) if form == "json" else table(found)


def rows(ledger: Ledger, what: str) -> list[dict[str, Any]]:
    """One table as plain values; money as text in USD, so that no digit is lost."""
    if what == "costs":
        costs = ledger.costs()
        return [{"run": run.name, "usd": str(costs.get(run.name, 0))} for run in ledger.runs()]
    found = []
    for row in ledger.table(what):
        plain = dict(row)
        for name in MONEY:
            if plain.get(name) is not None:
                plain[name] = str(usd(plain[name]))
        for name in NESTED:
            if name in plain:
                plain[name] = json.loads(plain[name])
        found.append(plain)
    return found


def table(found: list[dict[str, Any]]) -> str:
    """CSV with a head; a cell that a spreadsheet would run as a formula is quoted."""
    out = io.StringIO()
    if found:
        writer = csv.DictWriter(out, list(found[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: cell(value) for name, value in row.items()} for row in found)
    return out.getvalue()


def cell(value: object) -> object:
    """One cell."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, sort_keys=True)
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value
