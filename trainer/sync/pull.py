"""The newest (or best, or one certain) checkpoint that a store has whole, into a run folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from trainer.checkpoint import folder, manifest, verify
from trainer.errors import CHECK_FAILED, OUTSIDE_FAILED, REFUSED, TrainerError
from trainer.stores.store import Missing, Moved, Store
from trainer.sync import kinship, remote, runfiles
from trainer.sync.fetch import Line, Wrong
from trainer.sync.incoming import Incoming
from trainer.sync.patience import Patience, patiently
from trainer.sync.remote import Remote

ROOT = "checkpoints"
ASIDE = "aside"  # RUN/aside/: what --force moved out of the way; nothing here ever removes it
THREADS = 4
Which = Literal["latest", "best"] | int
Say = Callable[[str], None]


class NothingThere(TrainerError):
    """The store has no complete checkpoint (of those that were asked for)."""


@dataclass(frozen=True)
class Pulled:
    """What is in the run folder now. bytes: of the checkpoint; fetched: of them over the line now; kept: by earlier
    pulls; already: it was there, and good; passed: newer ones that could not be used, and why; files: run files."""

    step: int
    folder: Path
    bytes: int
    fetched: int
    kept: int
    already: bool
    passed: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {**vars(self), "folder": str(self.folder), "files": list(self.files)}


def pull(
    store: Store,
    run: Path,
    which: Which,
    only: Literal["all", "model"],
    say: Say,
    moved: Moved,
    force: bool = False,
    threads: int = THREADS,
    patience: Patience | None = None,
    total: Callable[[int], None] = lambda _: None,
) -> Pulled:
    """Fetches it into RUN/checkpoints, points `latest` (and `best`) to it, and fetches the run's files besides.

    A killed pull goes on where it stopped. For "latest" a checkpoint that turns out damaged is passed over, loudly, and
    the one before is taken. total: told how many bytes are to come. The store is read from several threads at once.
    Raises NothingThere, exit code 1; TrainerError, exit code 4, when the folder holds another run, newer checkpoints,
    or other ones of that step (force: they are moved to RUN/aside); 3 when the disk is too small, nothing there is
    whole, or the store fails (StoreError).
    """
    patience = patience or Patience()
    line = Line(store, moved, say, patience)
    there = patiently(f"listing {store.url}", lambda: _looked(store), patience, say)
    moved(0)
    candidates = _candidates(there, which, store)
    task = _Task(run, run / ROOT, line, only == "model", force, say, total)
    passed: dict[str, str] = {}
    for found in candidates:
        try:
            done = task.take(found, threads, passed)
        except (Wrong, Missing) as reason:
            passed[found.name] = str(reason)
            say(f"WARNING: {found.name} of {store.url} is damaged ({reason})")
            continue
        files = task.run_files()
        return Pulled(**{**vars(done), "files": files})
    hint = "another one: --step N; see python -m trainer checkpoints list --remote"
    raise TrainerError(f"no checkpoint of {store.url} that was asked for is whole: {passed}", hint, OUTSIDE_FAILED)


def _looked(store: Store) -> list[Remote]:
    """Complete ones, newest first."""
    return [found for found in remote.checkpoints(store) if found.complete]


def _candidates(there: Sequence[Remote], which: Which, store: Store) -> Sequence[Remote]:
    names = ", ".join(found.name for found in there)
    if not there:
        hint = "is the URL right? a run sends each checkpoint once it is saved; `checkpoints --remote URL` shows all"
        raise NothingThere(f"{store.url} has no whole checkpoint", hint, CHECK_FAILED)
    if which == "latest":
        return there
    step = remote.best_of(list(there)) if which == "best" else which
    if step is None:
        raise NothingThere(f"{store.url} knows of no best checkpoint", f"there are {names}", CHECK_FAILED)
    chosen = [found for found in there if found.step == step]
    if not chosen:
        raise NothingThere(f"{store.url} has no whole checkpoint of step {step}", f"there are {names}", CHECK_FAILED)
    return chosen


@dataclass
class _Task:
    run: Path
    root: Path
    line: Line
    model: bool
    force: bool
    say: Say
    total: Callable[[int], None]

    def take(self, found: Remote, threads: int, passed: dict[str, str]) -> Pulled:
        assert found.manifest is not None  # it is complete
        incoming = Incoming(self.root, found.prefix, found.manifest, self.model)
        already = self.is_here(incoming)
        in_the_way = self.in_the_way(incoming, found, already)
        if not already:
            self.say(f"fetching {found.name}, {incoming.bytes:,} bytes, from {self.line.store.url}")
            self.total(incoming.bytes)
            self.line.bytes = self.line.kept = 0
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                incoming.fetch(self.line, threads)
            except (Wrong, Missing):
                self.line.stop.clear()
                incoming.drop()
                raise
        for path in in_the_way:
            self.set_aside(path)
        target = self.root / incoming.name if already else incoming.publish()
        self.point(found, target)
        return Pulled(
            found.step, target, incoming.bytes, self.line.bytes, self.line.kept, already, dict(passed)
        )  # fmt: skip

    def is_here(self, incoming: Incoming) -> bool:
        """Whether the folder has it, every byte; a whole one serves where weights are asked for."""
        target = self.root / incoming.name
        try:
            ours = manifest.read(target)
        except manifest.Damaged:
            return False
        if manifest.seal(ours) != manifest.seal(incoming.content):
            return False
        if not self.model and not manifest.resumable(ours):
            return False
        return verify.fault(target, moved=lambda _: self.line.alive(0)) is None

    def in_the_way(self, incoming: Incoming, found: Remote, already: bool) -> list[Path]:
        """Good checkpoints here that would be hidden or lost; with force they may be. Raises TrainerError."""
        ours = kinship.local(self.run)
        if not kinship.related(ours, [found.manifest or {}]):
            self.refuse(f"{self.run} holds another run than {self.line.store.url}")
            return list(folder.found(self.root))
        good = [path for path in folder.found(self.root) if self.counts(path)]
        newer = [path for path in good if (folder.step_of(path.name) or 0) > found.step]
        if newer and not self.model:
            self.refuse(f"{self.run} has {newer[0].name}, newer than {found.name} at the store")
        same = [path for path in good if path.name == incoming.name and not already]
        other = [path for path in same if manifest.seal(manifest.read(path)) != manifest.seal(incoming.content)]
        if other:
            self.refuse(f"{self.run} has another {incoming.name} than the store")
        return [*(newer if not self.model else []), *other]

    def counts(self, path: Path) -> bool:
        """Whether training could go on from it; hashing them all would take minutes, so sizes must do."""
        if verify.fault(path, hashes=False) is not None:
            return False
        return manifest.resumable(manifest.read(path))

    def refuse(self, what: str) -> None:
        if not self.force:
            hint = f"give another --run, or --force to move what is in the way to {self.run / ASIDE}"
            raise TrainerError(what, hint, REFUSED)

    def set_aside(self, path: Path) -> None:
        place = self.run / ASIDE / f"{path.name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}"
        place.parent.mkdir(exist_ok=True)
        path.rename(place)
        folder.flush(self.root)
        self.say(f"{path.name} of {self.run} was moved to {place}")

    def point(self, found: Remote, target: Path) -> None:
        """`latest` names the newest that training can go on from, `best` the best that is here."""
        resumable = [path for path in folder.found(self.root) if self.counts(path)]
        latest = resumable[0] if resumable else folder.found(self.root)[0]
        if folder.pointed(self.root, folder.LATEST) != latest:
            folder.point(self.root, folder.LATEST, latest.name)
        best = remote.best_step(found.manifest)
        if best is not None and (self.root / folder.name_of(best)).is_dir() and target.name >= latest.name:
            folder.point(self.root, folder.BEST, folder.name_of(best))

    def run_files(self) -> tuple[str, ...]:
        """Settings as they are at the store; a log only when it is longer there."""
        listed = self.line.store.list(runfiles.PREFIX)
        names = {path[len(runfiles.PREFIX) :]: size for path, size in listed.items()}
        fetched = []
        for name, size in sorted(names.items()):
            here = self.run / name
            if not runfiles.ours(name) or (here.is_file() and here.stat().st_size >= size and runfiles.grows(name)):
                continue
            data = patiently(name, partial(self.read, name), self.line.patience, self.say)
            if not here.is_file() or here.read_bytes() != data:
                here.parent.mkdir(parents=True, exist_ok=True)
                folder.replace(here, data)
                fetched.append(name)
        return tuple(fetched)

    def read(self, name: str) -> bytes:
        pieces = []
        for piece in self.line.store.read(runfiles.PREFIX + name):
            self.line.alive(len(piece))
            pieces.append(piece)
        return b"".join(pieces)
