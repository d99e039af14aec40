"""What is left of GraphQL: the balance, which REST v2 does not have (providers.md 1.14, 1.15)."""

from __future__ import annotations

import re
from typing import Any

from fleet.simulators.runpod.account import SPEND_LIMIT, Account
from fleet.simulators.runpod.problems import problem
from fleet.simulators.wire import Reply, Request

MYSELF = re.compile(r"^\s*(query(\s+\w+)?\s*)?\{\s*myself\s*\{\s*(?P<fields>[\w\s,]+?)\s*\}\s*\}\s*$")


def answer(account: Account, request: Request) -> Reply:
    """`myself` with its three fields; anything else is HTTP 200 with `errors`, as everything is there."""
    faults, world = account.world.faults, account.world
    if faults.take("graphql_410") is not None:
        return problem(410, "GraphQL has been retired (wording and shape invented)")
    try:
        query = request.json()["query"]
        found = MYSELF.match(query)
    except (ValueError, KeyError, TypeError):
        return _errors("Must provide query string.")
    if found is None:
        return _errors("Cannot query this here: only myself { clientBalance currentSpendPerHr spendLimit } (invented)")
    known: dict[str, Any] = {
        "clientBalance": float(world.credit),
        "currentSpendPerHr": float(round(world.rate, 6)),
        "spendLimit": SPEND_LIMIT,
    }
    for knob, balance in (("balance.zero", 0), ("balance.negative", -3.5)):
        if faults.take(knob) is not None:
            known["clientBalance"] = balance
    wanted = found.group("fields").replace(",", " ").split()
    unknown = [name for name in wanted if name not in known]
    if unknown:
        return _errors(f'Cannot query field "{unknown[0]}" on type "User".')
    if faults.take("balance.missing") is not None:
        known["clientBalance"] = None
    return Reply(200, {"data": {"myself": {name: known[name] for name in wanted}}})


def _errors(words: str) -> Reply:
    return Reply(200, {"errors": [{"message": words}], "data": None})
