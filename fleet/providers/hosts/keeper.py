"""A keeper on the machine itself, which ends its own rental when nobody else does. Opt-in: it needs the account's key
there, since Hyperbolic gives a machine no credentials of its own."""

from __future__ import annotations

from collections.abc import Mapping

from fleet.providers.hosts.host import Host, script
from profiles.errors import OutsideFailed, WrongInput

GRACE_HOURS = 0.25  # after the run's own limit: time to save, and to be ended by us
AFTER = 900  # seconds that an ended container's machine is kept for its output


def hours(container_env: Mapping[str, str], gpus: int) -> float:
    """How long the machine may live, from the run's own limits: TRAINING_HOURS, and STOKER_DOLLARS at STOKER_PRICE per
    GPU-hour, the nearer. Raises WrongInput without any: a keeper without a limit keeps nothing."""
    limits = []
    try:
        if container_env.get("TRAINING_HOURS"):
            limits.append(float(container_env["TRAINING_HOURS"]))
        if container_env.get("STOKER_DOLLARS"):
            limits.append(float(container_env["STOKER_DOLLARS"]) / float(container_env["STOKER_PRICE"]) / gpus)
    except (ValueError, KeyError, ZeroDivisionError):
        raise WrongInput("the run's hours, dollars or price are no numbers", "give --hours, or a budget") from None
    if not limits or not 0 < min(limits) < 24 * 365:
        raise WrongInput("the key is lent for a limit, and the run has none", "give --hours or a budget with it")
    return min(limits) + GRACE_HOURS


def lend(host: Host, folder: str, key: str, url: str, rental: str, seconds: int, tag: str, after: int = AFTER) -> None:
    """Leaves the key in memory there, for root only, with a script that ends the rental after `seconds`, or `after`
    seconds after the container of `tag` has ended. One that keeps already is left alone: its limit does not move.

    It does not outlive a reboot of the machine, as nothing in memory does; then the ledger's `watch` is what is left.
    Raises OutsideFailed when it did not start.
    """
    if not rental.isdigit():
        raise WrongInput(f"no number of a rental: {rental!r}", "ids stand in `inv status`")
    secret, text = key.encode(), script("keep").encode("ascii")
    said = host.shell.run(
        script("lend"),
        *(folder, str(len(secret)), str(len(text)), url, rental, str(seconds), str(after), tag),
        given=secret + text,
    )
    if said.code:
        raise OutsideFailed(f"{host.name}: its own keeper did not start ({said.words})", "it is tried again")
