"""The balance: only GraphQL tells it, which is on its way out (providers.md 1.1, 1.15)."""

from __future__ import annotations

from typing import Any

from fleet.offers.runpod import PROVIDER
from fleet.providers.runpod.read import money
from fleet.providers.values import Balance
from fleet.wire import fields
from fleet.wire.failed import KeyRefused, ProviderFailed
from fleet.wire.line import Line

PATH = "/graphql"
QUERY = "query { myself { clientBalance currentSpendPerHr spendLimit } }"
RETIRED = "RunPod has retired the interface that told the balance: look in the console"
NOT_TOLD = "RunPod does not tell the balance now"


def balance(line: Line) -> Balance:
    """What is left. Unknown is usd None with words, never nothing: GraphQL may answer 410 any day (1.1).

    Raises KeyRefused when REST refuses the key too: a key with few rights is good for pods and not for this.
    """
    try:
        answer = line.search(PATH, {"query": QUERY})
    except KeyRefused:
        line.get("/v2/registries")
        return Balance(PROVIDER, None, words=f"{NOT_TOLD}: this key has no right to it")
    except ProviderFailed as failure:
        return Balance(PROVIDER, None, words=RETIRED if failure.status == 410 else f"{NOT_TOLD}: {failure.what}")
    return read(answer)


def read(answer: Any) -> Balance:
    """The balance in an answer; errors come with status 200 (1.15)."""
    row = answer if isinstance(answer, dict) else {}
    myself = fields.inner(fields.inner(row, "data"), "myself")
    usd, usd_hour = money(myself.get("clientBalance")), money(myself.get("currentSpendPerHr"))
    if usd is None:
        said = next((fields.text(error, "message") for error in fields.rows(row.get("errors"))), "")
        return Balance(PROVIDER, None, usd_hour, f"{NOT_TOLD}: {said}" if said else NOT_TOLD)
    limit = money(myself.get("spendLimit"))
    return Balance(PROVIDER, usd, usd_hour, f"spend limit {limit} USD/h" if limit is not None else "")
