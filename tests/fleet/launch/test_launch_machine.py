"""Any sequence of launches, ends, kills, faults and reconciliations keeps the promises."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fleet.launch.end import end
from fleet.launch.settle import settle
from fleet.ledger.values import OPEN
from profiles.errors import StokerError
from tests.fleet.launch.launch_steps import Scene
from tests.fleet.launch.model_world import FAULTS, Killed

RUNS = ("night", "day")
TEMPORARY = "/dev/shm" if Path("/dev/shm").is_dir() else None
LAGS = (0.0, 30.0, 150.0)
KILLS = st.one_of(st.none(), st.tuples(st.integers(0, 40), st.booleans()))
STRIKES = st.lists(st.sampled_from(FAULTS), max_size=3)
DEATHS = st.sampled_from(["", "", "", "before launch", "after launch", "after terminate"])


class Fleet(RuleBasedStateMachine):
    """Two runs on one market."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=TEMPORARY))
        self.scene = Scene(self.folder)
        for run in RUNS:
            self.scene.run(run)
        self.set_back = Decimal(0)  # USD that a step of our clock may hide

    def teardown(self) -> None:
        self.scene.ledger.shut()
        shutil.rmtree(self.folder)

    def doing(self, kill: tuple[int, bool] | None, work: Callable[[], object]) -> None:
        """One command of ours as a process of its own, which may be killed."""
        ledger = self.scene.ledger
        ledger.writes_left, ledger.after = kill if kill else (float("inf"), True)
        try:
            work()
        except (StokerError, Killed):
            pass
        self.scene.reopen()
        self.scene.world.die = ""

    @rule(run=st.sampled_from(RUNS), once=STRIKES, kill=KILLS, die=DEATHS, lag=st.sampled_from(LAGS))
    def launch(self, run: str, once: list[str], kill: tuple[int, bool] | None, die: str, lag: float) -> None:
        self.scene.world.once, self.scene.world.die, self.scene.world.lag = once, die, lag
        self.doing(kill, lambda: self.scene.launch(run))

    @rule(kill=KILLS)
    def settle(self, kill: tuple[int, bool] | None) -> None:
        self.doing(kill, lambda: settle(self.scene.ledger, self.scene.providers, self.scene.clock))

    @rule(kill=KILLS, once=STRIKES, die=DEATHS)
    def reconcile(self, kill: tuple[int, bool] | None, once: list[str], die: str) -> None:
        self.scene.world.once, self.scene.world.die = once, die
        self.doing(kill, self.scene.reconcile)

    @rule(run=st.sampled_from(RUNS), kill=KILLS, once=STRIKES, die=DEATHS)
    def terminate(self, run: str, kill: tuple[int, bool] | None, once: list[str], die: str) -> None:
        self.scene.world.once, self.scene.world.die = once, die
        scene = self.scene

        def work() -> None:
            scene.ledger.set_state(run, "ended", "by the user")
            for known in scene.ledger.live(run):
                end(scene.ledger, scene.provider, known.id, "by the user", scene.clock)

        self.doing(kill, work)

    @rule(run=st.sampled_from(RUNS))
    def open_again(self, run: str) -> None:
        self.scene.ledger.set_state(run, OPEN)

    @rule(seconds=st.sampled_from([1.0, 60.0, 3600.0]))
    def time_goes_on(self, seconds: float) -> None:
        self.scene.clock.sleep(seconds)

    @rule(hours=st.sampled_from([-2, -1, 1]))
    def our_clock_steps(self, hours: int) -> None:
        for known in self.scene.ledger.live():
            passed = max(timedelta(0), self.scene.clock.now() - known.seen)
            self.set_back += Decimal("6") * (Decimal(str(passed.total_seconds() / 3600)) + 1)
        self.scene.clock.shift += timedelta(hours=hours)

    @rule(down=st.booleans())
    def the_provider_goes_down_or_comes_back(self, down: bool) -> None:
        self.scene.world.down = down

    @rule()
    def a_machine_is_lost(self) -> None:
        seen = {known.id for known in self.scene.ledger.known()}
        for machine in self.scene.world.live()[:1]:
            self.scene.world.kill(machine, "host lost")
            if machine.id not in seen:  # it came and went while nobody looked: its provider's bill alone tells of it
                self.set_back += machine.billed(self.scene.clock.time)

    @rule()
    def a_quiet_reconcile_sets_everything_right(self) -> None:
        scene = self.scene
        scene.world.once, scene.world.down = [], False
        scene.clock.sleep(max(LAGS))  # a dead machine that every list still shows cannot be told from a live one
        scene.reconcile()
        scene.agrees()
        for known in scene.ledger.live():
            assert scene.ledger.run(known.run).state == OPEN
        for run in RUNS:
            assert scene.ledger.open_wish(run) is None
            assert not scene.ledger.unsettled(run)
            hidden = self.set_back + Decimal("0.5")
            assert scene.ledger.cost(run) >= scene.true_cost(run) - hidden
        assert not [row for row in scene.reconcile() if row.kind != "foreign"]

    @invariant()
    def one_wish_never_bills_twice(self) -> None:
        scene, per_wish, made = self.scene, Counter[int](), Counter[str]()
        for machine in scene.world.live():
            attempt = scene.ledger.attempt(machine.tag)
            assert attempt is not None  # nothing was sent that was not written down before
            made[machine.tag] += 1
            if made[machine.tag] == 1:  # a second one of one tag is the market's own fault: `create.double`
                per_wish[attempt.wish] += 1
        assert not per_wish or max(per_wish.values()) <= 1

    @invariant()
    def what_ended_is_not_billed(self) -> None:
        live = {machine.id for machine in self.scene.world.live()}
        assert not [known.id for known in self.scene.ledger.known() if known.ended and known.id in live]

    @invariant()
    def every_tag_is_sent_once(self) -> None:
        assert len(self.scene.world.creates) == len(set(self.scene.world.creates))


Fleet.TestCase.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestFleet = Fleet.TestCase
