"""The bodies of Hyperbolic's requests, from templates/providers/hyperbolic/*.json.j2."""

from __future__ import annotations

from typing import Any

from fleet.offers.hyperbolic import PROVIDER
from fleet.offers.offer import Offer
from fleet.providers.rendered import rendered
from fleet.providers.values import Order
from profiles.errors import WrongInput

RENTALS = "/v2/on-demand/virtual-machine-rentals"
TERMINATE = f"{RENTALS}/terminate"
BALANCE = "/v2/customer/balance"
PARTS = ("gpuType", "region", "gpuCount", "machineType", "connectionType", "gpuFormFactor", "ethernetVariant")


def option(offer: Offer) -> dict[str, str]:
    """The fields of the option in an offer's id (fleet/offers/hyperbolic.py). Raises WrongInput for another's id."""
    parts = offer.id.split("/")
    if offer.provider != PROVIDER or len(parts) != len(PARTS) or not parts[2].isdigit():
        raise WrongInput(f"no offer of Hyperbolic's: {offer.id}", "ask for the offers again (`./inv offers`)")
    return dict(zip(PARTS, parts, strict=True))


def create(order: Order) -> dict[str, Any]:
    """What a create sends: all fields that were seen to work, as the option spells them (providers.md 3.4)."""
    named = option(order.offer)
    values = {
        "gpu_type": named["gpuType"],
        "region": named["region"],
        "gpu_count": int(named["gpuCount"]),
        "network_type": named["connectionType"] or "ethernet",
        "label": order.tag,
    }
    return rendered(PROVIDER, "create", values)


def terminate(id: str, reason: str) -> dict[str, Any]:
    """What ends a rental. `rentalId`, a number: another client's `id` is unproven (providers.md 3.6)."""
    if not (id.isascii() and id.isdigit()):
        raise WrongInput(f"no number of a rental: {id!r}", "Hyperbolic's ids are numbers; they stand in `./inv status`")
    return rendered(PROVIDER, "terminate", {"rental_id": int(id), "reason": reason})
