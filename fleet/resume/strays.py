"""Machines that may be a run's, where no ledger knows of it: by what their environment tells, else by their tag."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleet.deploy import everywhere
from fleet.launch.look import sight
from fleet.ledger import tags
from fleet.ledger.ledger import Ledger
from fleet.providers.provider import Provider
from fleet.providers.values import Instance
from profiles.errors import OutsideFailed, Refused


@dataclass(frozen=True, slots=True)
class Stray:
    """A machine of this account. sure: it tells the run's whole name and the same remote."""

    instance: Instance
    sure: bool


def strays(ledger: Ledger, providers: Mapping[str, Provider], run: str, remote: str) -> list[Stray]:
    """All that may be the run's and that the ledger knows of no run for.

    Raises OutsideFailed when a provider does not answer: its machine could be there, and train.
    """
    heard: everywhere.Heard[str, tuple[Instance, ...]] = everywhere.ask(providers, lambda one: sight(ledger, one))
    if heard.failures:
        name, words = next(iter(heard.failures.items()))
        raise OutsideFailed(
            f"a machine of `{run}` may be at {name}, which does not answer: {words}",
            "nothing is rented beside it; the same command again",
        )
    found = []
    for instance in (one for there in heard.results.values() for one in there):
        known = ledger.instance(instance.provider, instance.id)
        if known is None or not known.run:
            found += stray(instance, run, remote)
    return found


def stray(instance: Instance, run: str, remote: str) -> list[Stray]:
    """The machine when it may be the run's."""
    told, where = instance.env.get("STOKER_RUN", ""), instance.env.get("STOKER_REMOTE", "")
    if told:
        return [Stray(instance, where == remote)] if told == run else []
    tag = tags.read(instance.tag)
    return [Stray(instance, False)] if tag is not None and tag.run == tags.short(run) else []


def taken(found: Sequence[Stray], run: str) -> list[str]:
    """Ids to adopt. Raises Refused for a machine that may be somebody else's: the user has to say so."""
    for one in found:
        if not one.sure:
            who = f"{one.instance.provider} {one.instance.id} ({one.instance.tag})"
            raise Refused(
                f"{who} may be a machine of `{run}`, and may be another's of the same name",
                f"./inv reconcile --adopt {one.instance.id} takes it, then ./inv resume {run}; or end it first",
            )
    return [one.instance.id for one in found]
