"""One launch under way: what was left first, then one offer after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from fleet.clock import Clock
from fleet.launch.arrive import Arrival, Ready, Unusable
from fleet.launch.candidate import Candidate, unwanted
from fleet.launch.end import end
from fleet.launch.look import sight
from fleet.launch.outcomes import NoMachine, StillThere, Tried, Unsettled
from fleet.launch.patience import Patience
from fleet.launch.send import send
from fleet.launch.settle import settle_one
from fleet.launch.stopwatch import Stopwatch
from fleet.launch.thin import is_own, thin
from fleet.ledger.ledger import Ledger
from fleet.ledger.values import ABSENT, CREATED, MAY_BILL, REFUSED, UNSETTLED, Attempt, Known, Wish
from fleet.offers.offer import Offer
from fleet.providers.outcomes import Because, CreatedAnyway, NotCreated, Unable
from fleet.providers.provider import Provider
from fleet.providers.values import Container, Instance, Template
from profiles.errors import OutsideFailed, Refused, WrongInput

# What a refusal says of the provider's other offers too (providers.md 1.3): this account gets none now.
WHOLE_PROVIDER = (Because.CREDIT, Because.KEY, Because.INVALID)
SAME_SLICE = timedelta(minutes=10)
LONGEST_BUSY = 300.0  # seconds


@dataclass(slots=True)
class Launching:
    """One launch under way."""

    ledger: Ledger
    wish: Wish
    candidates: Sequence[Candidate]
    most_usd_hour: Decimal
    clock: Clock
    say: Callable[[str], None]
    patience: Patience
    ready: Ready
    providers: Mapping[str, Provider]
    tried: list[Tried] = field(default_factory=list)
    _watch: Stopwatch = field(init=False)
    _templates: dict[tuple[str, Container], Template | None] = field(default_factory=dict)
    _dropped: dict[str, str] = field(default_factory=dict)  # provider -> why none of its offers will do
    _told: set[str] = field(default_factory=set)  # providers whose way with secrets was told
    _sent: int = 0

    def go(self) -> Instance:
        """See `launch`."""
        self._watch = Stopwatch(self.clock)
        instance = self._left_behind()
        for candidate in self.candidates:
            if instance is not None:
                break
            instance = self._one(candidate)
        self._no_late_ones(instance)
        if instance is None:
            raise NoMachine(self.tried)
        return instance

    def _left_behind(self) -> Instance | None:
        """What an earlier process made for this wish, when it gets ready; ended otherwise."""
        for attempt in self.ledger.attempts(wish=self.wish.id):
            if attempt.state in UNSETTLED:
                row = settle_one(self.ledger, self.providers, attempt, self.clock, self.patience)
                if not row.done:
                    raise Unsettled(
                        row.words, "nothing more is rented for it; run `./inv reconcile` when that is mended"
                    )
        made = [attempt for attempt in self.ledger.attempts(wish=self.wish.id) if attempt.state == CREATED]
        mine = {(attempt.provider, attempt.instance) for attempt in made}
        for known in self.ledger.live(self.wish.run):
            if (known.provider, known.id) not in mine:
                self._not_mine(known)
        return next((found for attempt in made if (found := self._taken_over(attempt)) is not None), None)

    def _not_mine(self, known: Known) -> None:
        """Ends a machine of an order that counted as not made. Raises Refused for one that the run is known to have."""
        if is_own(self.ledger, known) and not known.ending:
            raise Refused(
                f"`{self.wish.run}` has a machine: {known.provider} {known.id}",
                f"`./inv terminate {self.wish.run}` ends it",
            )
        provider = self.providers.get(known.provider)
        if provider is None:
            raise Unsettled(f"{known.provider} {known.id} came too late, and has to be ended", "run `./inv reconcile`")
        end(self.ledger, provider, known.id, known.ending or "it came too late", self.clock, self.patience)

    def _taken_over(self, attempt: Attempt) -> Instance | None:
        """Goes on waiting for a machine that a dead process ordered."""
        provider = self.providers.get(attempt.provider)
        known = self.ledger.instance(attempt.provider, attempt.instance)
        if provider is None or known is None or not self.candidates:
            raise Unsettled(
                f"`{self.wish.run}` has {attempt.provider} {attempt.instance}, and {attempt.provider} is not asked",
                "run `./inv reconcile`",
            )
        if known.ending:  # it was found wanting, and nobody saw it end
            self.say(f"{attempt.provider} {attempt.instance} was to be ended: {known.ending}")
            end(self.ledger, provider, known.id, known.ending, self.clock, self.patience)
            return None
        own = [candidate for candidate in self.candidates if candidate.provider.name == attempt.provider]
        model = own[0] if own else self.candidates[0]
        candidate = Candidate(provider, attempt.offer or model.offer, model.container)
        self.say(f"{attempt.provider} {attempt.instance} was ordered before: going on with it")
        return self._arrives(candidate, attempt, known.instance, attempt.offer)

    def _one(self, candidate: Candidate) -> Instance | None:
        """Tries one offer, again while its provider is only busy."""
        why = self._unwanted(candidate)
        if why:
            self._row(candidate, "skipped", why)
            return None
        start = self._watch.passed()
        try:
            template = self._template(candidate)
        except OutsideFailed as failure:
            self._row(candidate, "template", failure.what, start=start)
            self._dropped[candidate.provider.name] = failure.what
            return None
        self._where_secrets_are(candidate)  # before they go there; some clients know only since the template
        for _ in range(self.patience.busy):
            self._sent += 1
            try:
                attempt, found = send(
                    *(self.ledger, self.wish, candidate, template, self.most_usd_hour, self.clock, self.patience)
                )
            except NotCreated as refusal:
                if refusal.because is Because.BUSY and self._more():
                    self._watch.sleep(min(LONGEST_BUSY, max(1.0, refusal.after)))
                    continue
                stops = refusal.because in WHOLE_PROVIDER
                words = "; ".join(filter(None, (refusal.what, refusal.next_step if stops else "")))
                self._row(candidate, str(refusal.because), words, start=start)
                if stops:
                    self._dropped[candidate.provider.name] = refusal.what
                return None
            except CreatedAnyway as made:
                self._row(candidate, "refused", made.what, start=start, instance=made.id)
                return None
            if not found:
                self._row(candidate, "no-answer", "no answer, and no machine was made", attempt.tag, start)
                return None
            known = self.ledger.attempt(attempt.tag) or attempt
            first = next((each for each in found if each.id == known.instance), found[0])
            return self._arrives(candidate, attempt, first, candidate.offer, start)
        self._row(candidate, "busy", "it was asked too often, every time", start=start)
        return None

    def _unwanted(self, candidate: Candidate) -> str:
        """Why an offer is not tried; "" when it is."""
        offer, name = candidate.offer, candidate.provider.name
        if not self._more():
            return f"{self._sent} orders in {self._watch.passed() / 60:.0f} min are enough"
        if name in self._dropped:
            return f"as before: {self._dropped[name]}"
        why = unwanted(candidate, self.candidates, self.most_usd_hour)
        if why:
            return why
        bad = {each.machine: each.why for each in self.ledger.bad_machines(name)}
        if offer.machine and offer.machine in bad:
            return f"machine {offer.machine} is left out: {bad[offer.machine]}"
        left = self.ledger.left(self.wish.run)
        need = candidate.usd_hour * Decimal(str(self.patience.reserve)) / 3600
        if left is not None and left < need:
            return f"{left:.2f} USD are left, and {need:.2f} may be spent before it works"
        taken = next((each for each in self.ledger.attempts() if offer.machine and self._took(each, offer)), None)
        return f"`{taken.run}` has just rented it" if taken else ""

    def _took(self, attempt: Attempt, offer: Offer) -> bool:
        """Whether another run has just rented this very slice of a machine."""
        same = attempt.offer is not None and (attempt.provider, attempt.offer.id) == (offer.provider, offer.id)
        young = self.ledger.now() - attempt.made < SAME_SLICE
        return same and young and attempt.run != self.wish.run and attempt.state in MAY_BILL

    def _more(self) -> bool:
        return self._sent < self.patience.attempts and self._watch.passed() < self.patience.total

    def _template(self, candidate: Candidate) -> Template | None:
        if candidate.template is not None:
            return candidate.template
        try:
            return candidate.provider.ensure_template(candidate.container)
        except Unable:
            return None

    def _arrives(
        self, candidate: Candidate, attempt: Attempt, first: Instance, offer: Offer | None, start: float | None = None
    ) -> Instance | None:
        """Waits until the machine works; ends it otherwise. None: the next offer."""
        start = self._watch.passed() if start is None else start
        self.say(f"{candidate.words}: {first.id} is ordered ({attempt.tag})")
        self._where_secrets_are(candidate)  # a client may see only while it orders that there is no store
        arrival = Arrival(
            *(self.ledger, self.wish.run, candidate, offer, first, attempt.most_usd_hour),
            *(self.clock, self.say, self.patience, self.ready),
        )
        try:
            instance = arrival.wait()
        except Unusable as unusable:
            self.say(f"{candidate.words}: ending {first.id}: {unusable.words}")
            end(self.ledger, candidate.provider, first.id, unusable.words, self.clock, self.patience)
            self._row(candidate, unusable.outcome, unusable.words, attempt.tag, start, first.id)
            if unusable.bad:
                machine = first.machine or (offer.machine if offer else "")
                until = self.ledger.now() + timedelta(seconds=self.patience.excluded)
                self.ledger.bad_machine(candidate.provider.name, machine, unusable.words, until)
            if unusable.stop is not None:
                raise unusable.stop from None
            return None
        self.ledger.tell(self.wish.run, "ready", f"{candidate.words}: {instance.id}", instance.id)
        return instance

    def _where_secrets_are(self, candidate: Candidate) -> None:
        """Tells once what a provider does with tokens when it keeps no secrets (fleet/providers/runpod/secrets.py)."""
        name, words = candidate.provider.name, candidate.provider.lacks.get("secrets", "")
        if words and candidate.container.secrets and name not in self._told:
            self._told.add(name)
            self.say(f"{name}: {words}")
            self.ledger.tell(self.wish.run, "secrets", f"{name}: {words}")

    def _no_late_ones(self, keep: Instance | None) -> None:
        """Looks once more wherever an attempt of this wish counted as not made: a late machine is ended."""
        late = {each.provider for each in self.ledger.attempts(wish=self.wish.id) if each.state in (ABSENT, REFUSED)}
        for name in sorted(late & set(self.providers)):
            try:
                sight(self.ledger, self.providers[name])
                thin(self.ledger, self.providers[name], self.wish.run, keep, self.clock, self.patience)
            except StillThere:
                raise
            except (OutsideFailed, WrongInput) as failure:
                self.say(f"{name}: {failure.what}; `./inv reconcile` later")

    def _row(
        self,
        candidate: Candidate,
        outcome: str,
        words: str,
        tag: str = "",
        start: float | None = None,
        instance: str = "",
    ) -> None:
        """A row of the table, and a line of the story."""
        name = candidate.provider.name
        seconds = 0.0 if start is None else self._watch.passed() - start
        usd = self.ledger.instance_cost(name, instance) if instance else Decimal(0)
        self.tried.append(Tried(name, candidate.words, outcome, words, tag, seconds, usd))
        self.ledger.tell(self.wish.run, "tried", f"{candidate.words}: {outcome}: {words}", instance)
        if outcome != "skipped":
            self.say(f"{candidate.words}: {outcome}: {words}")
