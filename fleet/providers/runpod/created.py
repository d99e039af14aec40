"""How a create ended: providers.md 0.1's table. Whatever is not known to mean "nothing was made" is unclear."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from fleet.offers.runpod import PROVIDER
from fleet.providers.outcomes import Because, NotCreated, Unclear
from fleet.wire import fields
from fleet.wire.failed import KeyRefused, ProviderFailed, Throttled, key_step
from fleet.wire.line import Answered

# Wordings of a lack of capacity, on v2 and on its forerunners (1.3). v2 has no code of its own for it.
FULL = ("instances available", "not enough free gpus")
SUSPECT = "if every offer is refused with a 400, the request itself is wrong (a disk, a volume or a template?)"
LISTED = "look whether it is there before another is made"
NOT_CREATED = {
    401: (Because.KEY, key_step(PROVIDER)),
    402: (Because.CREDIT, "add credit in the console: it wants one hour of the machine at least"),
    403: (Because.FORBIDDEN, "this key or account has no access to that pool; the next offer is tried"),
    404: (Because.INVALID, "its template is gone; deploy again, which makes it anew"),
    405: (Because.INVALID, "its API may have changed; look for a newer Stoker"),
    409: (Because.CAPACITY, "the next offer is tried"),
    413: (Because.INVALID, "the request is too large: shorten the variables and the command"),
    422: (Because.INVALID, "the request is wrong for every offer; look at the words above"),
}
BUSY_AFTER = 15.0  # seconds, when a 429 names none: a quarter of its shortest window (1.3)


def new_id(answered: Answered, hidden: Iterable[str] = ()) -> str:
    """The id of what was created. hidden: what may never be told. Raises NotCreated or Unclear."""
    status, words = answered.status, told(answered, hidden)
    if not answered.sent:
        raise NotCreated(Because.BUSY, words or f"{PROVIDER}: no connection", "check the network", after=5.0)
    if 200 <= status < 300:
        found = answered.value.get("id") if isinstance(answered.value, Mapping) else None
        if isinstance(found, str) and found.strip():
            return found
        raise Unclear(f"{PROVIDER}: {status}, an answer without an id", LISTED)
    if status == 400:
        known = any(wording in words.lower() for wording in FULL)
        raise NotCreated(Because.CAPACITY, f"{PROVIDER}: 400 {words}".strip(), "" if known else SUSPECT)
    if status == 429:
        after = BUSY_AFTER if answered.after is None else answered.after
        raise NotCreated(Because.BUSY, f"{PROVIDER}: 429 {words}".strip(), f"ask again in {after:.0f} s", after)
    if status in NOT_CREATED:
        because, step = NOT_CREATED[status]
        raise NotCreated(because, f"{PROVIDER}: {status} {words}".strip(), step)
    # without an answer the words are the line's own, and name the provider
    raise Unclear(f"{PROVIDER}: {status} {words}".strip() if status else words or f"{PROVIDER}: no answer", LISTED)


def told(answered: Answered, hidden: Iterable[str] = ()) -> str:
    """The provider's words with each broken rule that a 422 lists, bounded; "" when they hold a secret, or a piece."""
    value = answered.value if isinstance(answered.value, Mapping) else {}
    said = answered.words + answered.code + json.dumps(answered.value, ensure_ascii=False)
    if any(secret and secret[:8] in said for secret in hidden):
        return ""
    errors = value.get("errors")
    rules = [fields.printable(rule) for rule in errors if isinstance(rule, str)] if isinstance(errors, list) else []
    # no words: either there were none, or they held the key
    return "; ".join([answered.words, *rules[:5]]) if answered.words else ""


def failed(answered: Answered, what: str, hidden: Iterable[str] = ()) -> ProviderFailed:
    """The same for what bills nothing: a template, a login, a secret."""
    status = answered.status
    words = f"{what}: {status or 'no answer'} {told(answered, hidden)}".strip()
    if status in (401, 403):
        return KeyRefused(PROVIDER, words, key_step(PROVIDER), status)
    if status == 429:
        return Throttled(PROVIDER, words, "ask again in a minute", status)
    step = "the request was not understood" if 400 <= status < 500 else "ask again later: it is looked for first"
    return ProviderFailed(PROVIDER, words, step, status)


def before(failure: ProviderFailed) -> NotCreated:
    """What had to be asked before the create went wrong: nothing was sent, nothing was made."""
    if isinstance(failure, KeyRefused):
        return NotCreated(Because.KEY, failure.what, failure.next_step)
    if 400 <= failure.status < 500 and not isinstance(failure, Throttled):
        return NotCreated(Because.INVALID, failure.what, failure.next_step)
    return NotCreated(Because.BUSY, failure.what, failure.next_step, after=BUSY_AFTER)


def only_id(value: Any) -> str:
    """The id in the answer of a create, "" without one."""
    found = value.get("id") if isinstance(value, Mapping) else None
    return str(found) if isinstance(found, (str, int)) and not isinstance(found, bool) else ""
