"""`terminate` of a run that another process is launching at this moment: nothing of it is left, whoever made it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleet.deploy.ending import Outcome, terminate
from fleet.ledger.values import ENDED, UNMET
from fleet.providers.values import Instance, Order
from profiles.errors import StokerError
from tests.fleet.launch.launch_steps import Scene
from tests.fleet.launch.model_world import ModelProvider


@dataclass
class Elsewhere:
    """Another process that launches the run: its own ledger over the same files, in a thread. pause: seconds of the
    wall's clock that its create takes."""

    folder: Path
    pause: float = 0.0
    there: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None
    provider: ModelProvider | None = None
    _thread: threading.Thread | None = None

    def begin(self, ours: Scene) -> None:
        def work() -> None:
            scene = Scene(self.folder, clock=ours.clock)
            scene.world = ours.world
            scene.provider = self.slowed(scene)
            try:
                scene.launch(ready=self.ready)
            except StokerError as failure:
                self.failure = failure
            finally:
                scene.ledger.shut()

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()
        assert self.there.wait(60)

    def slowed(self, scene: Scene) -> ModelProvider:
        elsewhere = self

        class Slow(ModelProvider):
            def launch(self, order: Order) -> Instance:
                if elsewhere.pause:
                    elsewhere.there.set()
                    time.sleep(elsewhere.pause)
                return super().launch(order)

        return Slow(scene.world)

    def ready(self, provider: object, instance: Instance) -> str:
        """Its machine never answers."""
        self.there.set()
        time.sleep(0.01)
        return "not yet"

    def end(self) -> None:
        if self._thread is not None:
            self._thread.join(60)
            assert not self._thread.is_alive()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    made = Elsewhere(tmp_path)
    yield made
    made.end()


def ended(scene: Scene, **more: float) -> list[Outcome]:
    return terminate(scene.ledger, ["night"], scene.providers, scene.clock, **more)


def nothing_is_left(scene: Scene, elsewhere: Elsewhere) -> None:
    elsewhere.end()
    assert isinstance(elsewhere.failure, StokerError)
    assert scene.world.live() == [] and scene.ledger.live() == [] and not scene.ledger.unsettled()
    assert scene.ledger.run("night").state == ENDED
    assert scene.ledger.open_wish("night") is None
    assert [wish.state for wish in scene.ledger.wishes()] == [UNMET]


def test_one_that_waits_for_its_machine(scene: Scene, elsewhere: Elsewhere):
    scene.run()
    elsewhere.begin(scene)
    rows = ended(scene)
    assert rows and all(row.done for row in rows)
    nothing_is_left(scene, elsewhere)


def test_one_whose_order_is_on_its_way(scene: Scene, elsewhere: Elsewhere):
    scene.run()
    elsewhere.pause = 0.5
    elsewhere.begin(scene)
    assert all(row.done for row in ended(scene))
    nothing_is_left(scene, elsewhere)
    assert len(scene.world.creates) == 1


def test_one_whose_order_got_no_answer(scene: Scene, elsewhere: Elsewhere):
    scene.run()
    scene.world.once = ["create.drop_after_commit"]
    elsewhere.pause = 0.5
    elsewhere.begin(scene)
    assert all(row.done for row in ended(scene))
    nothing_is_left(scene, elsewhere)
    assert len(scene.world.creates) == 1


def test_one_that_does_not_let_go_is_told_and_what_lives_is_ended_all_the_same(scene: Scene):
    scene.run()
    scene.launch()
    other = Scene(scene.folder, clock=scene.clock)
    try:
        with other.ledger.hold("night"):
            rows = ended(scene, lets_go=0.2)
        assert [row.done for row in rows] == [True, False]
        assert "is being launched by process" in rows[1].words and "terminate night again" in rows[1].words
        assert scene.world.live() == [] and scene.ledger.run("night").state == ENDED
        assert all(row.done for row in ended(scene))
    finally:
        other.ledger.shut()


def test_a_wish_that_a_dead_process_left_is_not_taken_up_later(scene: Scene):
    scene.run()
    scene.ledger.wish("night", "deploy")
    scene.reopen()
    assert [row.words for row in ended(scene)] == ["it had no machine"]
    assert scene.ledger.open_wish("night") is None
