"""Whatever a provider repeats of an order, no secret of it reaches the ledger, the table of tries or the terminal."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from fleet.launch.candidate import Candidate
from fleet.providers.outcomes import Because, CreatedAnyway, NotCreated, Unclear
from fleet.providers.values import Instance, Login, Order
from profiles.errors import Refused, StokerError, WrongInput
from tests.fleet.launch.launch_steps import Scene
from tests.fleet.launch.model_world import ModelProvider, container, offer

TOKEN, PASSWORD = "hf_plantedToken4711", "hunter2secret"
ECHO = f"refused: -u bob -p {PASSWORD} HF_TOKEN={TOKEN}, cut {TOKEN[:10]}"


@dataclass(slots=True)
class Parrot(ModelProvider):
    """Repeats the order in everything it says."""

    failure: StokerError | None = None

    def launch(self, order: Order) -> Instance:
        made = ModelProvider.launch(self, order)
        if self.failure is None:
            return replace(made, words=ECHO, status=ECHO)
        if isinstance(self.failure, CreatedAnyway):
            self.failure.id = made.id
        else:
            self.world.kill(self.world.machines[-1], "never was", lingers=False)
        raise self.failure


FAILURES = [
    NotCreated(Because.INVALID, ECHO, ECHO),
    NotCreated(Because.CAPACITY, ECHO, ECHO),
    CreatedAnyway("", ECHO, ECHO),
    Unclear(ECHO, ECHO),
    WrongInput(ECHO, ECHO),
    Refused(ECHO, ECHO),
    None,
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda each: type(each).__name__)
def test_a_provider_that_repeats_the_order_gives_no_secret_away(scene: Scene, failure: StokerError | None):
    scene.run()
    scene.provider = Parrot(scene.world, failure=failure)
    secret = replace(container("night"), secrets={"HF_TOKEN": TOKEN}, login=Login("r.example", "bob", PASSWORD))
    told = []
    try:
        told.append(repr(scene.launch(candidates=[Candidate(scene.provider, offer(), secret)])))
    except StokerError as stopped:
        told += [str(stopped), repr(stopped), stopped.what, stopped.next_step, repr(vars(stopped))]
    told += [*scene.said, repr(scene.ledger.events("night")), repr(scene.ledger.attempts())]
    written = b"".join(path.read_bytes() for path in scene.folder.rglob("*") if path.is_file())
    for planted in (TOKEN[:8], PASSWORD[:8]):
        assert planted not in "".join(told)
        assert planted.encode() not in written
    if failure is not None:
        assert "refused: -u bob -p ***" in "".join(told)
