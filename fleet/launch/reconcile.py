"""What the ledger says and what the providers say, made one: nothing rented stays unknown, nothing unwanted stays."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from fleet.clock import Clock
from fleet.launch import rows
from fleet.launch.end import end
from fleet.launch.look import sight
from fleet.launch.observe import Observed, observe
from fleet.launch.patience import USUAL, Patience, unsaid
from fleet.launch.recover import adopted_by_word, names, recovered
from fleet.launch.rows import Row
from fleet.launch.settle import settle
from fleet.launch.thin import BEST, is_own
from fleet.ledger.ledger import Ledger
from fleet.ledger.values import MAY_BILL, OPEN, UNSETTLED, Known
from fleet.providers.provider import Provider
from fleet.providers.values import Instance
from profiles.errors import OutsideFailed, Refused, StokerError, WrongInput

NOBODYS = ""


def reconcile(
    ledger: Ledger,
    providers: Mapping[str, Provider],
    clock: Clock,
    adopt: Collection[str] = (),
    dry_run: bool = False,
    patience: Patience = USUAL,
    say: Callable[[str], None] = unsaid,
) -> list[Row]:
    """Makes ledger and providers agree, and says what it found; rows that are not `done` need another look. Raises
    WrongInput for a word of `adopt` that names no machine.

    Orders without an answer are settled; machines of ours that nobody wants are ended, those that an open run lacks are
    adopted; machines that are gone are proven gone; a lost ledger's runs are rebuilt from tags and environment. adopt:
    ids, tags or four letters of a ledger whose machines are taken as ours. dry_run: nothing is ended or adopted. About
    a provider that does not answer nothing is concluded. A run that a live process holds is left to it. It waits only
    where one look is not enough (fleet/launch/observe.py), and says so before each pause.
    """
    work = Reconciling(ledger, providers, clock, tuple(adopt), dry_run, patience, say)
    return work.go()


@dataclass(slots=True)
class Reconciling:
    """One reconciliation under way."""

    ledger: Ledger
    providers: Mapping[str, Provider]
    clock: Clock
    adopt: tuple[str, ...]
    dry_run: bool
    patience: Patience
    say: Callable[[str], None]
    found: list[Row] = field(default_factory=list)
    _seen: Observed = field(init=False)

    def go(self) -> list[Row]:
        """See `reconcile`."""
        self._named()
        self._unsettled()
        self._seen = observe(self.ledger, self.providers, self.clock, self.patience, self.say)
        for name, why in self._seen.silent.items():
            step = self._seen.steps.get(name, "")
            self.found.append(
                Row(rows.SILENT, name, words=f"{why}: nothing is concluded about it", done=False, step=step)
            )
        for name, there in self._seen.there.items():
            for instance in there.values():
                if not self._seen.is_gone(name, instance.id):
                    self._strange(name, instance)
        for run in [NOBODYS, *(run.name for run in self.ledger.runs())]:
            try:
                with self.ledger.hold(run or "-"):
                    self._settle_run(run)
            except Refused as held:
                if run and (self.ledger.live(run) or self.ledger.open_wish(run)):
                    self.found.append(Row(rows.HELD, "", run=run, words=held.what, done=False))
        return self.found

    def _named(self) -> None:
        """Adopts what the user names, before an order without an answer is judged: it may be what that one made."""
        listed: dict[str, tuple[Instance, ...]] = {}
        for name in self.providers if self.adopt else ():
            try:
                listed[name] = sight(self.ledger, self.providers[name])
            except (OutsideFailed, WrongInput):
                continue  # told as silent later
        self._there(listed)
        for name, instances in listed.items():
            for instance in instances:
                if self.ledger.instance(name, instance.id) is None:
                    row = adopted_by_word(self.ledger, instance, self.adopt, self.dry_run)
                    self.found += [row] if row.kind == rows.ADOPTED else []

    def _there(self, listed: Mapping[str, tuple[Instance, ...]]) -> None:
        """Raises WrongInput for a word that names nothing; where somebody did not answer, it may be there: a row."""
        words = set[str]().union(*(names(instance) for found in listed.values() for instance in found))
        words |= {word for known in self.ledger.live() for word in (known.id, known.tag)}  # judged with all the others
        words |= {attempt.tag for attempt in self.ledger.unsettled()}
        if not (lost := [word for word in self.adopt if word not in words]):
            return
        if len(listed) == len(self.providers):
            raise WrongInput(
                f"no machine, tag or ledger `{lost[0]}` at {', '.join(listed) or 'any provider'}",
                "./inv reconcile --dry-run names the machines that can be taken over",
            )
        silent = ", ".join(name for name in self.providers if name not in listed)
        for word in lost:
            said = f"`{word}` is not listed where there was an answer; {silent} did not answer"
            self.found.append(Row(rows.UNCLEAR, "", words=said, done=False))

    def _unsettled(self) -> None:
        if not self.dry_run:
            self.found += settle(self.ledger, self.providers, self.clock, self.patience, self.say)
            return
        for attempt in self.ledger.unsettled():
            who = (attempt.provider, attempt.instance, attempt.tag, attempt.run)
            self.found.append(Row(rows.UNCLEAR, *who, "an order without an answer", done=False))

    def _strange(self, name: str, instance: Instance) -> None:
        """A machine that no run of this ledger is known for."""
        known = self.ledger.instance(name, instance.id)
        if known is not None and known.run:
            return
        if known is not None:
            self.found.append(recovered(self.ledger, known, self.dry_run))
        elif not any((row.provider, row.id) == (name, instance.id) for row in self.found):
            self.found.append(adopted_by_word(self.ledger, instance, (), self.dry_run))

    def _settle_run(self, run: str) -> None:
        """Everything about one run whose lock is held."""
        live = [known for known in self.ledger.live() if known.run == run]
        wanted = bool(run) and self.ledger.run(run).state == OPEN
        there = [known for known in live if self._seen.is_there(known.provider, known.id)]
        keep = self._kept(run, [known for known in there if not known.ending]) if wanted else None
        for known in live:
            if self._seen.is_gone(known.provider, known.id):
                self._end(rows.GHOST, known, "not listed any more; counted until it was missed")
            elif known not in there:
                continue
            elif known is not keep:
                self._end(*self._why(known, wanted, keep))
            elif not is_own(self.ledger, known):
                self._adopt(known)
        if run:
            self._leftover_wish(run)

    def _kept(self, run: str, there: list[Known]) -> Known | None:
        """The one machine of an open run: of the newest wish, made by its attempt, furthest, oldest."""
        wishes = {attempt.tag: attempt.wish for attempt in self.ledger.attempts(run)}
        elsewhere = [known for known in self.ledger.live(run) if known.provider not in self._seen.there]
        if any(is_own(self.ledger, known) for known in elsewhere):
            return self._own(there)
        return min(
            there,
            key=lambda known: (
                not is_own(self.ledger, known),
                -wishes.get(known.tag, 0),
                BEST.index(known.instance.state),
                known.first,
                known.id,
            ),
            default=None,
        )

    def _own(self, there: list[Known]) -> Known | None:
        """The one that an attempt made, when the other provider's cannot be judged."""
        return next((known for known in there if is_own(self.ledger, known)), None)

    def _adopt(self, known: Known) -> None:
        if not self.dry_run:
            self.ledger.adopt(known.instance, known.run)
        self.found.append(self._row(rows.ADOPTED, known, "its run is open and had no machine", not self.dry_run))

    def _why(self, known: Known, wanted: bool, keep: Known | None) -> tuple[str, Known, str]:
        """Why a listed machine has to end."""
        if known.ending:
            return rows.LEFTOVER, known, known.ending
        if not known.run:
            return rows.ORPHAN, known, "ours by its tag, and of no run that is known"
        if not wanted:
            return rows.LEFTOVER, known, f"its run is {self.ledger.run(known.run).state}"
        beside = f"beside {keep.id}" if keep else "beside one that cannot be asked about"
        return rows.DUPLICATE, known, f"a second machine of its run {beside}"

    def _end(self, kind: str, known: Known, words: str) -> None:
        if self.dry_run:
            self.found.append(self._row(kind, known, f"{words}; would be ended", done=False))
            return
        try:
            end(self.ledger, self.providers[known.provider], known.id, words, self.clock, self.patience, self.say)
        except StokerError as failure:
            self.found.append(self._row(kind, known, failure.what, done=False))
            return
        self.found.append(self._row(kind, known, f"{words}; ended"))

    def _row(self, kind: str, known: Known, words: str, done: bool = True) -> Row:
        return Row(kind, known.provider, known.id, known.tag, known.run, words, done)

    def _leftover_wish(self, run: str) -> None:
        """A wish that a dead process left open is met by the machine that is there, or came to nothing."""
        wish = self.ledger.open_wish(run)
        if wish is None or self.dry_run:
            return
        if any(attempt.state in UNSETTLED for attempt in self.ledger.attempts(wish=wish.id)):
            return
        live = [known for known in self.ledger.live(run) if not known.ending]
        if live:
            words = f"met by {live[0].provider} {live[0].id}"
            self.ledger.close(wish, words, met=True)
        elif any(attempt.state in MAY_BILL for attempt in self.ledger.attempts(wish=wish.id)):
            return
        else:
            words = f"came to nothing; `./inv resume {run}` tries again"
            self.ledger.close(wish, "left open by a process that died", met=False)
        self.found.append(Row(rows.WISH, "", run=run, words=words))
