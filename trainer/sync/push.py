"""One pass: everything that the store lacks of a run goes there, newest checkpoint first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.checkpoint import folder, manifest
from trainer.errors import REFUSED, TrainerError
from trainer.stores.store import Moved, Store, StoreError
from trainer.sync import kinship, prune, remote, runfiles
from trainer.sync.claims import Claims
from trainer.sync.prune import Rules
from trainer.sync.remote import Remote
from trainer.sync.send import Say, Sending, Unfit

ROOT = "checkpoints"


@dataclass
class Pushed:
    """Names of checkpoints, newest first. there: complete at the store now; sent: by this pass; skipped: here, and
    not worth sending (a newer one is there, and the store would drop them at once); unsent: here, and still to be
    sent, or not fit for it; removed: dropped from the store. reasons: why something is unsent. seals: of ours that are
    there or skipped, by name; a name alone may come to mean another checkpoint. doubt: what looks like a mistake."""

    there: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    unsent: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)
    seals: dict[str, str] = field(default_factory=dict)
    doubt: str | None = None

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return dict(vars(self))


def push(
    run: Path,
    store: Store,
    moved: Moved,
    say: Say,
    rules: Rules | None = None,
    told: Callable[[Pushed], None] = lambda _: None,
    expect: Callable[[int], None] = lambda _: None,
    adopt: bool = False,
) -> Pushed:
    """Brings the store up to date with RUN, then drops what the rules let go.

    A checkpoint that is damaged here, or that retention takes away under us, is passed over with a line, and what was
    sent of it goes. moved: the store's, called with 0 while hashing. told: called when it is known what is there, and
    whenever that has changed. expect: told how many bytes are about to be sent. adopt: also into a URL that holds
    another run. Raises StoreError; what has arrived stays, and the next call goes on. Raises TrainerError, exit code
    4, when the URL holds another run.
    """
    sending = Sending(store, Claims(run, store.url), moved, say, expect)
    return _Pass(run, sending, rules or Rules(), told).go(adopt)


class _Pass:
    def __init__(self, run: Path, sending: Sending, rules: Rules, told: Callable[[Pushed], None]) -> None:
        self.run, self.root, self.sending, self.rules, self.told = run, run / ROOT, sending, rules, told
        self.store, self.claims, self.moved, self.say = sending.store, sending.claims, sending.moved, sending.say
        self.done = Pushed()
        self.seen: dict[str, Remote] = {}

    def go(self, adopt: bool) -> Pushed:
        there = self.look()
        if not adopt:
            self.refuse_other(there)
        files = self.changed_files(there)
        while (path := self.plan(there)) is not None:
            self.told(self.done)
            try:
                self.sending.checkpoint(path, files)
            except Unfit as reason:
                self.done.reasons[path.name] = str(reason)
                self.say(f"WARNING: {path.name} is not sent: {reason}")
            else:
                self.done.sent.append(path.name)
                self.say(f"{path.name} is at {self.store.url}")
                files = []
            self.seen.pop(path.name, None)
            there = self.look()
        self.sending.run_files(files)
        for name in [name for name in self.done.unsent if name not in self.done.reasons]:
            self.done.reasons[name] = "the store has another one of that step, and no other; it is replaced later"
            self.say(f"{name} is not sent: {self.done.reasons[name]}")
        self.retain(there)
        return self.done

    def look(self) -> list[Remote]:
        """A fresh listing; manifests that were read and have not changed their size since are not read again."""
        self.moved(0)
        there = remote.checkpoints(self.store)
        there = [
            before if (before := self.seen.get(found.name)) is not None and before.sizes == found.sizes else found
            for found in there
        ]
        self.seen = {found.name: found for found in there}
        self.done.there = [found.name for found in there if found.complete and self.as_here(found)]
        return there

    def as_here(self, found: Remote) -> bool:
        """Whether it is the one we have under its name, or we have none."""
        ours = self.ours(found.name)
        if ours is None or not manifest.resumable(ours):
            return True
        return found.manifest is not None and bool(found.manifest["files"] == ours["files"])

    def ours(self, name: str) -> dict[str, Any] | None:
        try:
            return manifest.read(self.root / name)
        except manifest.Damaged:
            return None

    def seal(self, name: str) -> None:
        if (ours := self.ours(name)) is not None:
            self.done.seals[name] = manifest.seal(ours)

    def local(self) -> list[tuple[int, Path]]:
        """Our checkpoints, newest first; those that hold weights alone are for use here, and are not sent."""
        steps = [(folder.step_of(path.name) or 0, path) for path in folder.found(self.root)]
        return [
            (step, path)
            for step, path in steps
            if (content := self.ours(path.name)) is None or manifest.resumable(content)
        ]

    def plan(self, there: list[Remote]) -> Path | None:
        """What to send now. Notes the others in self.done."""
        local = self.local()
        complete = {found.name for found in there if found.complete}
        unworthy = prune.unworthy([step for step, _ in local], there, self.rules, self.protected(local))
        self.done.skipped, self.done.unsent, self.done.seals = [], [], {}
        wanted = []
        for step, path in local:
            if path.name in self.done.there:
                self.seal(path.name)
                continue
            if path.name in self.done.reasons:
                self.done.unsent.append(path.name)
            elif step in unworthy:
                self.done.skipped.append(path.name)
                self.seal(path.name)
            elif complete == {path.name}:  # replacing the only complete one would leave the store with none
                self.done.unsent.append(path.name)
            else:
                self.done.unsent.append(path.name)
                wanted.append(path)
        # the newest first: its loss is what a lost machine costs; then the best
        first = [local[0][1]] if local else []
        first += [best] if (best := folder.pointed(self.root, folder.BEST)) else []
        return next((path for path in [*first, *wanted] if path in wanted), None)

    def protected(self, local: list[tuple[int, Path]]) -> set[int]:
        """Our newest and our best."""
        best = folder.pointed(self.root, folder.BEST)
        return {step for step, path in local[:1]} | ({folder.step_of(best.name) or 0} if best else set())

    def changed_files(self, there: list[Remote]) -> list[runfiles.RunFile]:
        """Run files that the store does not have as they are now.

        Logs are only ever appended to: a shorter one here is none that continues the one there. And a folder without
        checkpoints may be anybody's: it replaces nothing beside checkpoints that are there.
        """
        if there and not self.local():
            what = f"{self.store.url} has {there[0].name} already, and {self.run} has no checkpoint"
            self.done.doubt = f"{what}: pull it first, or give this run a URL of its own"
            self.say(f"WARNING: {self.done.doubt}")
            return []
        sizes = self.store.list(runfiles.PREFIX)
        changed = []
        for file in runfiles.copied(self.run):
            size = sizes.get(file.item.name, -1)
            if size == len(file.data) and self.claims.sent(file.name) == file.sha256:
                continue
            if runfiles.grows(file.name) and size > len(file.data):
                self.say(f"{file.name} is longer at the store than here; it stays there as it is")
                continue
            changed.append(file)
        return changed

    def refuse_other(self, there: list[Remote]) -> None:
        manifests = [found.manifest for found in there if found.complete and found.manifest is not None]
        if not kinship.related(kinship.local(self.run), manifests):
            hint = "give each run a URL of its own, or --adopt to send this one there all the same"
            raise TrainerError(f"{self.store.url} holds the checkpoints of another run", hint, REFUSED)

    def retain(self, there: list[Remote]) -> None:
        """Drops what may go; a failure of that is no failure of the pass."""
        local = self.local()
        ours = [step for step, _ in local]
        beyond, replaced = prune.beyond(there, ours, self.done.there), self.rules.replaced(ours)
        if beyond and replaced:
            going = beyond  # they must not count as the newest ones; the next pass drops what else may go
        else:
            going = [*prune.surplus(there, self.rules, self.protected(local)), *prune.leftovers(there, ours)]
        if beyond and not replaced:
            names = ", ".join(found.name for found in beyond)
            self.say(f"WARNING: {self.store.url} has {names}, newer than all of this run folder; a pull would take it")
        try:
            for found in going:
                self.sending.withdraw(found)
                self.done.removed.append(found.name)
                self.say(f"{found.name} is dropped from {self.store.url}")
        except StoreError as error:
            self.say(f"{error.what}; dropped with the next pass")
        gone = {found.name for found in going}
        self.done.there = [name for name in self.done.there if name not in gone]
        self.done.seals = {name: seal for name, seal in self.done.seals.items() if name not in gone}
        self.told(self.done)
