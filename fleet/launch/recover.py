"""Machines whose run the ledger does not know: a lost ledger's, another ledger's, or nobody's."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from fleet.launch import rows
from fleet.launch.rows import Row
from fleet.ledger import tags
from fleet.ledger.ledger import Ledger
from fleet.ledger.values import OPEN, Known, Run
from fleet.providers.values import Instance


def adopted_by_word(ledger: Ledger, instance: Instance, adopt: Collection[str], dry_run: bool) -> Row:
    """A machine that is not ours: told, never touched, unless the user names its id, its tag or its ledger."""
    tag = tags.read(instance.tag)
    who = (instance.provider, instance.id, instance.tag)
    if not names(instance) & set(adopt):
        whose = f"another ledger's ({tag.ledger})" if tag else "not Stoker's"
        return Row(rows.FOREIGN, *who, words=f"{whose}; left alone, `--adopt {instance.id}` takes it")
    waiting = [each for each in ledger.unsettled() if each.provider == instance.provider and each.sent and not tag]
    run = waiting[0].run if waiting else run_of(ledger, instance)
    if dry_run:
        return Row(rows.ADOPTED, *who, run, "would be adopted, as named", done=False)
    if waiting:  # a provider that does not repeat the label: it is what the order without an answer made
        ledger.created(waiting[0].tag, replace(instance, tag=waiting[0].tag))
        return Row(rows.ADOPTED, *who, run, "adopted, as named: an order of it had no answer")
    rebuilt(ledger, instance, run)
    ledger.adopt(instance, run)
    return Row(rows.ADOPTED, *who, run, "adopted, as named")


def names(instance: Instance) -> set[str]:
    """The words by which a user may name a machine: its id, its tag, the four letters of its ledger."""
    tag = tags.read(instance.tag)
    return {instance.id, instance.tag, tag.ledger if tag else ""} - {""}


def recovered(ledger: Ledger, known: Known, dry_run: bool) -> Row:
    """A machine with this ledger's id that no attempt is known for: the ledger was lost, its run is rebuilt."""
    run = run_of(ledger, known.instance)
    who = (known.provider, known.id, known.tag, run)
    if dry_run:
        return Row(rows.ADOPTED, *who, "would be adopted: the ledger had lost it", done=False)
    rebuilt(ledger, known.instance, run)
    ledger.adopt(known.instance, run)
    return Row(rows.ADOPTED, *who, "the ledger had lost it; its run is known again")


def run_of(ledger: Ledger, instance: Instance) -> str:
    """The run's whole name from the environment; else the tag's letters, made unlike the runs that are known."""
    told = instance.env.get("STOKER_RUN", "")
    if told:
        return told
    tag = tags.read(instance.tag)
    name = tag.run if tag else f"adopted-{tags.short(instance.id)}"
    known = {run.name for run in ledger.runs()}
    return name if name not in known else f"{name}-{tag.random if tag else tags.letters(8)}"


def rebuilt(ledger: Ledger, instance: Instance, run: str) -> None:
    """Keeps the run when the ledger has none of that name. Its limits are not known: they hold in the container,
    and whoever watches it keeps no machine for what it holds without an end (fleet/watch/kept.py)."""
    if run in {known.name for known in ledger.runs()}:
        return
    ledger.add_run(
        Run(
            run,
            image=instance.image,
            remote=instance.env.get("STOKER_REMOTE", ""),
            state=OPEN,
            words=f"recovered from {instance.provider} {instance.id}",
        )
    )
