"""How a create ended (providers.md 0.1's table, 2.1, 2.5). When in doubt nobody knows, and somebody looks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fleet.providers import masked
from fleet.providers.outcomes import Because, CreatedAnyway, NotCreated, Unclear
from fleet.providers.vast import bodies
from fleet.providers.vast.pace import CREATE_AGAIN
from fleet.wire import fields
from fleet.wire.failed import key_step
from fleet.wire.line import Answered

# The code `spend_rate_limit` is documented, without its status; the rest are words of the CLI and of a prepay (2.1).
CREDIT = re.compile(
    r"spend_rate_limit|spend rate|missing_billing|billing not set up|insufficient[_ ](credit|fund|balance)"
    r"|out of credit|no credit|lacks? credit|not enough credit",
    re.IGNORECASE,
)
KEY = re.compile(r"auth_error|invalid user key|session expired|requires login|not_authenticated", re.IGNORECASE)
GONE = re.compile(r"no_such_ask|\b3603\b|\b3907\b|no longer available|is not available|already rented", re.IGNORECASE)
PRICE = re.compile(r"invalid_price|bid too low", re.IGNORECASE)
ADD_CREDIT = "add credit in Vast's console, under billing; a new account confirms its e-mail address first"


# A registry login as a docker command says it, wherever it comes from; `-p 22:22` opens a port.
LOGIN = re.compile(r"((?:^|\s)(?:-p|--password)(?:\s+|=))(?!\d+:\d+)\S+")


def created(answer: Answered, hidden: Iterable[str] = (), long: Sequence[str] = ()) -> str:
    """The new instance's id. Raises NotCreated, CreatedAnyway, Unclear. The answer's `instance_api_key` is dropped.

    hidden: what may never be told, since a refusal may repeat the request; long: variables that may be the mistake.
    """
    said = told(answer, hidden)
    body = answer.value if isinstance(answer.value, dict) else {}
    id = fields.text(body, "new_contract")
    agreed = fields.flag(body, "success")
    if id.isdigit() and int(id):
        if 200 <= answer.status < 300 and agreed is True:
            return id
        if answer.status >= 400 or agreed is False:
            raise CreatedAnyway(id, f"vast: refused ({said}), and instance {id} is there all the same")
        raise Unclear(f"vast: an answer that does not say whether {id} is rented", "look for its label")
    if answer.status == 0 and not answer.sent:
        raise NotCreated(Because.BUSY, f"vast: {answer.words}", "check the network", after=5.0)
    if 400 <= answer.status < 500 or (200 <= answer.status < 300 and agreed is False):
        raise refused(answer, said, long)
    raise Unclear(f"vast: no clear answer to the order ({said})", "look for its label before anything else")


def refused(answer: Answered, said: str, long: Sequence[str] = ()) -> NotCreated | Unclear:
    """A refusal without an instance. Words count before the status: a bad key is 401 or 404, no credit is not told."""
    words, what = f"{answer.code} {answer.words}", f"vast: {said}"
    if answer.status == 401 or KEY.search(words):
        return NotCreated(Because.KEY, what, key_step("vast"))
    if CREDIT.search(words) or answer.status == 402:
        return NotCreated(Because.CREDIT, what, ADD_CREDIT)
    if answer.status == 429:
        return NotCreated(Because.BUSY, what, "ask again later", after=max(CREATE_AGAIN, answer.after or 0.0))
    if GONE.search(words) or answer.status == 410:
        return NotCreated(Because.CAPACITY, what, "take the next offer")
    if PRICE.search(words):
        return NotCreated(Because.CAPACITY, what, "its least bid has risen: take the next offer")
    if answer.status == 404 and "template" not in words.lower():
        return NotCreated(Because.CAPACITY, what, "take the next offer")
    if answer.status == 403:
        return NotCreated(Because.FORBIDDEN, what, "take the next offer")
    if answer.status in (400, 404):
        step = "look at the request with --dry-run"
        return NotCreated(Because.INVALID, what, f"{step}; {too_long(long)}" if long else step)
    return Unclear(what, "look for its label before anything else")


def too_long(names: Sequence[str]) -> str:
    """What may be wrong with these variables."""
    return f"vast may take no more than {bodies.MOST_ENTRY} characters of one variable: {', '.join(names)}"


def told(answer: Answered, hidden: Iterable[str] = ()) -> str:
    """'404 no_such_ask ...': status and words, bounded, without the key and what is hidden."""
    words = said(answer.words or answer.code, hidden)
    return " ".join(filter(None, (str(answer.status or ""), words))) or "no answer"


def said(words: str, hidden: Iterable[str]) -> str:
    """Vast's words without any of `hidden`, and without a registry's password."""
    return LOGIN.sub(rf"\g<1>{masked.MASK}", masked.told(words, hidden))
