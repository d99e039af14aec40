"""From a create that was accepted to a machine that works: each stage has a deadline, and RUNNING is not ready."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice

from fleet.clock import Clock
from fleet.launch.candidate import Candidate
from fleet.launch.look import sight
from fleet.launch.outcomes import Unfit
from fleet.launch.patience import Patience
from fleet.launch.stopwatch import Stopwatch
from fleet.launch.thin import thin
from fleet.ledger.ledger import Ledger
from fleet.ledger.values import OPEN
from fleet.life.signs import read
from fleet.offers.offer import Offer
from fleet.providers.masked import masked
from fleet.providers.outcomes import Unable
from fleet.providers.provider import Provider
from fleet.providers.values import Instance, State
from profiles.errors import CheckFailed, OutsideFailed, Refused, StokerError, WrongInput

Ready = Callable[[Provider, Instance], str]
LOST = (State.STOPPED, State.INTERRUPTED, State.FAILED)
TWICE = 2  # one read may be wrong
TAIL, TOLD = 100, 20  # lines of output that are read, and kept


class Unusable(Exception):
    """This machine has to be ended. outcome: a word for the table; bad: whether to keep away from it; stop: raise this
    afterwards, because no other machine would do either."""

    def __init__(self, outcome: str, words: str, bad: bool = False, stop: Exception | None = None) -> None:
        super().__init__(words)
        self.outcome, self.words, self.bad, self.stop = outcome, words, bad, stop


@dataclass(slots=True)
class Arrival:
    """Waits for one machine. `wait` returns it when it is ready, and raises Unusable when it has to be ended."""

    ledger: Ledger
    run: str
    candidate: Candidate
    offer: Offer | None  # what was ordered; None: not known any more
    first: Instance
    most_usd_hour: Decimal
    clock: Clock
    say: Callable[[str], None]
    patience: Patience
    ready: Ready
    _watch: Stopwatch = field(init=False)
    _stage: str = field(init=False, default="pending")
    _since: float = field(init=False, default=0.0)  # the stage's begin
    _news: float = field(init=False, default=0.0)  # when it last told something new
    _words: str = field(init=False, default="")
    _listed: bool = field(init=False, default=False)
    _unlisted: float | None = field(init=False, default=None)  # since when lists are without it
    _lost: int = field(init=False, default=0)
    _settled: bool = field(init=False, default=False)

    def wait(self) -> Instance:
        """See the class. Raises Unusable, StillThere (a second machine that does not end)."""
        self._watch = Stopwatch(self.clock)
        self._judge(self.first)
        while True:
            instance = self._read()
            if instance is not None:
                if self._ended_well(instance):
                    return instance
                self._judge(instance)
                if instance.state is State.RUNNING and self._works(instance):
                    return instance
            self._deadline(instance)
            self._watch.sleep(self.patience.poll)

    def _read(self) -> Instance | None:
        """The machine as it is listed now; None when that cannot be told."""
        provider = self.candidate.provider
        self._wanted()
        try:
            there = sight(self.ledger, provider)
        except (OutsideFailed, WrongInput) as failure:
            self._tell(f"{provider.name} does not answer: {failure.what}")
            return None
        for each in thin(self.ledger, provider, self.run, self.first, self.clock, self.patience):
            self._tell(f"a second machine was ended: {each.id}")
        mine = next((each for each in there if each.id == self.first.id), None)
        if mine is not None:
            self._listed, self._unlisted = True, None
            return mine
        self._missing(provider)
        return None

    def _missing(self, provider: Provider) -> None:
        """One list without it says nothing; all lists over a window, and its own page, do (providers.md 6.2 row 5)."""
        now = self._watch.passed()
        self._unlisted = now if self._unlisted is None else self._unlisted
        patience = self.patience.appear if not self._listed else self.patience.look_every * self.patience.reads
        if now - self._unlisted < patience:
            return
        try:
            gone = provider.instance(self.first.id) is None
        except (OutsideFailed, WrongInput):
            return
        if gone:
            raise Unusable("vanished", "it is not listed any more", bad=True)

    def _wanted(self) -> None:
        """Raises Unusable when the run was ended meanwhile or has no money left."""
        run = self.ledger.run(self.run)
        if run.state != OPEN:
            stop = Refused(f"`{self.run}` is {run.state}", f"`./inv resume {self.run}` opens it again")
            raise Unusable("unwanted", f"`{self.run}` is {run.state}", stop=stop)
        left = self.ledger.left(self.run)
        if left is not None and left <= 0:
            stop = Refused(f"the budget of `{self.run}` is spent", f"`./inv resume {self.run}` with a higher --budget")
            raise Unusable("budget", "the budget is spent", stop=stop)

    def _judge(self, instance: Instance) -> None:
        """Raises Unusable for a machine that is dearer or other than ordered, or lost."""
        most, offer = self.most_usd_hour, self.offer
        if instance.usd_hour is not None and instance.usd_hour.is_finite() and instance.usd_hour > most:
            raise Unusable("price", f"{instance.usd_hour} USD/h on the machine, above the cap of {most}")
        if offer and instance.gpu and instance.gpu != offer.gpu:
            raise Unusable("other-gpu", f"{instance.gpu} instead of {offer.gpu}", bad=True)
        if offer and instance.gpus is not None and 0 < instance.gpus < offer.count:
            raise Unusable("other-gpu", f"{instance.gpus} GPUs instead of {offer.count}", bad=True)
        self._lost = self._lost + 1 if instance.state in LOST else 0
        if self._lost >= TWICE:
            told = " ".join(filter(None, (instance.status, instance.words)))
            raise Unusable(str(instance.state), f"it never worked: {told or instance.state}", bad=True)

    def _ended_well(self, instance: Instance) -> bool:
        """Whether its run has come and gone between two looks, with success. Raises Unusable when it ended by itself,
        and not well: the mistake is the run's, and the next machine would repeat it."""
        if instance.state not in (State.STOPPED, State.FAILED) or self._lost + 1 < TWICE:
            return False
        try:
            told = list(islice(self.candidate.provider.logs(instance.id, TAIL), 4 * TAIL))
        except StokerError:
            return False
        signs = read(told)
        if signs.exited is None:
            return False
        if signs.exited == 0:
            return True
        lines: list[str] = masked(told[-TOLD:], self.candidate.container.secrets.values())
        for line in lines:  # its machine is ended, and the output with it
            self.ledger.tell(self.run, "output", line[:300], instance.id)
        words = f"the run ended with {signs.exited}"
        stop = CheckFailed(f"{words}, by itself: {lines[-1][:200]}", f"./inv report {self.run} has its last lines")
        raise Unusable("ended", words, stop=stop)

    def _works(self, instance: Instance) -> bool:
        """Whether its container runs and answers."""
        provider = self.candidate.provider
        try:
            if not self._settled:
                provider.settle_in(instance, self.candidate.container, self.first.tag)
                self._settled = True
            missing = self.ready(provider, instance)
        except (CheckFailed, Refused, Unfit) as unfit:
            raise Unusable("unfit", unfit.what, bad=True) from unfit
        except Unable:
            raise
        except WrongInput as wrong:
            raise Unusable("invalid", wrong.what, stop=wrong) from wrong
        except OutsideFailed as passing:
            missing = passing.what
        if missing:
            self._tell(missing)
        return not missing

    def _tell(self, words: str) -> None:
        if words != self._words:
            self._words, self._news = words, self._watch.passed()
            self.say(f"{self.candidate.words}: {words}")

    def _deadline(self, instance: Instance | None) -> None:
        """Raises Unusable when its stage has lasted too long. A machine that is not read stays in its stage."""
        now = self._watch.passed()
        stage = {State.STARTING: "starting", State.RUNNING: "running"}.get(instance.state) if instance else None
        if stage and stage != self._stage:
            self._stage, self._since, self._news = stage, now, now
        if instance is not None and instance.state is not State.RUNNING:
            self._tell(instance.words or instance.status or str(instance.state))
        most = {"pending": self.patience.pending, "starting": self.patience.starting}.get(
            self._stage, self.patience.running
        )
        # A pull that tells its progress may go on for longer (providers.md 6.2 row 4), not for ever.
        silent = now - (self._news if self._stage == "starting" else self._since)
        if silent > most or now - self._since > most * self.patience.most_progress:
            words = f"{self._stage} for {(now - self._since) / 60:.0f} min: {self._words or 'it told nothing'}"
            raise Unusable("never-ready", words, bad=True)
