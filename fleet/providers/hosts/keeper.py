"""A keeper on the machine itself, which ends its own rental when nobody else does. Opt-in (STOKER_LEND_KEY=1): it needs
the account's key there, since Hyperbolic gives a machine no credentials of its own.

This one alone has the key. The keeper in the image (templates/run/keeper.py) gets none, so it stops the run in time,
says why and ends; this one hears it and ends the machine. So the key is in no container, where every library of a
training could read it, and a machine on which no container ever starts is ended all the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from fleet.providers.hosts.host import Host, script
from profiles.errors import OutsideFailed, WrongInput

GRACE_HOURS = 1 / 60  # after the limit, before which the run was told to save (STOKER_GRACE): who looks ends it first
AFTER = 900  # seconds that a failed run's machine is kept for its output, when nobody says for how long
NEVER = 10**9  # seconds


def hours(container_env: Mapping[str, str], gpus: int, now: float | None = None) -> float:
    """How long the machine may live, by the nearest of the run's own limits: STOKER_DEADLINE as seen at `now` (epoch
    seconds), TRAINING_HOURS, and STOKER_DOLLARS at STOKER_PRICE per GPU-hour. Raises WrongInput when one of them is
    reached, and without any: a keeper without a limit keeps nothing."""
    limits = []
    try:
        if container_env.get("STOKER_DEADLINE") and now is not None:
            limits.append((float(container_env["STOKER_DEADLINE"]) - now) / 3600)
        if container_env.get("TRAINING_HOURS"):
            limits.append(float(container_env["TRAINING_HOURS"]))
        if container_env.get("STOKER_DOLLARS"):
            limits.append(float(container_env["STOKER_DOLLARS"]) / float(container_env["STOKER_PRICE"]) / gpus)
    except (ValueError, KeyError, ZeroDivisionError):
        raise WrongInput("the run's hours, dollars or price are no numbers", "give --hours, or a budget") from None
    if limits and min(limits) <= 0:
        raise WrongInput("the run's time is over, or its dollars are", "give it more: --hours, --budget")
    if not limits or not min(limits) < 24 * 365:
        raise WrongInput("the key is lent for a limit, and the run has none", "give --hours or a budget with it")
    return min(limits) + GRACE_HOURS


def kept(container_env: Mapping[str, str]) -> tuple[int, int]:
    """Seconds that the machine outlives a run that ended well, and one that failed, as everywhere (STOKER_END_INSTANCE,
    STOKER_KEEP_MINUTES in templates/run/variables): where nothing else holds the result, it stays until its limit."""
    if container_env.get("STOKER_END_INSTANCE", "").strip().lower() in ("", "0", "false", "no", "off"):
        return NEVER, NEVER
    try:
        return 0, max(0, round(float(container_env.get("STOKER_KEEP_MINUTES") or 0) * 60))
    except (ValueError, OverflowError):
        return 0, AFTER


def lend(
    host: Host,
    folder: str,
    key: str,
    url: str,
    rental: str,
    seconds: int,
    tag: str,
    after: int = AFTER,
    well: int | None = None,
) -> None:
    """Leaves the key in memory there, for root only, with a script that ends the rental after `seconds`, as soon as the
    keeper in the container of `tag` says that it is time, or `well` seconds after that container ended well, `after`
    after it failed (well None: the same). One that keeps already is left alone: its limit does not move.

    It does not outlive a reboot of the machine, as nothing in memory does; then the ledger's `watch` is what is left.
    Raises OutsideFailed when it did not start.
    """
    if not rental.isdigit():
        raise WrongInput(f"no number of a rental: {rental!r}", "ids stand in `./inv status`")
    secret, text = key.encode(), script("keep").encode("ascii")
    said = host.shell.run(
        script("lend"),
        *(folder, str(len(secret)), str(len(text)), url, rental, str(seconds)),
        *(str(after), tag, str(after if well is None else well)),
        given=secret + text,
    )
    if said.code:
        raise OutsideFailed(f"{host.name}: its own keeper did not start ({said.words})", "it is tried again")
