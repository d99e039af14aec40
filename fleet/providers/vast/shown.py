"""The requests of a launch as they may be printed: exact, with secrets masked."""

from __future__ import annotations

from fleet.offers.offer import INTERRUPTIBLE
from fleet.providers.masked import MASK
from fleet.providers.values import Container, Order, Shown
from fleet.providers.vast import bids, bodies, refusals, secret_store, template_store
from fleet.providers.vast.answers import PROVIDER

HASH = "(hash_id of the template)"


def requests_of(container: Container, order: Order) -> list[Shown]:
    """Secrets first, then the template, then the create. Raises WrongInput where sending them would."""
    kept = secret_store.fit(container.secrets)
    found = [
        Shown(PROVIDER, "POST", secret_store.PATH, {"key": stored, "value": MASK}, f"{name}, when it is not there")
        for name, stored in sorted(kept.items())
    ]
    plain = sorted(set(container.secrets) - set(kept))
    notes = [f"the account's store takes no such value: {', '.join(plain)} go with this request"] if plain else []
    template = bodies.template(container)
    found.append(Shown(PROVIDER, "POST", template_store.PATH, template, "PUT with its hash_id, when the name is there"))
    price = float(bids.price(order)) if order.offer.kind == INTERRUPTIBLE else None
    key = order.template.key if order.template else HASH
    sent = bodies.create(order, key, kept, price)
    long = bodies.long_entries(sent["env"])
    notes += [refusals.too_long(long)] if long else []
    body = bodies.masked(sent, container)
    found.append(Shown(PROVIDER, "PUT", f"/api/v0/asks/{order.offer.id}/", body, "; ".join(notes)))
    return found
