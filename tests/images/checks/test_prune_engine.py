"""The engine keeps what the store knows; the rest of ours goes."""

from __future__ import annotations

import pytest

from images.builders.engine import Engine, connect
from images.builders.load import load_into_engine
from images.checks.prune_engine import prune_engine

pytestmark = pytest.mark.slow


@pytest.fixture
def engine(docker_host: str) -> Engine:
    return connect()


def test_known_images_stay_and_forgotten_ones_go(cpu_image, engine: Engine):
    bench, _, image = cpu_image
    name = load_into_engine(image, bench, engine)
    older = engine.client.containers.create(name, ["true"], network_mode="none")
    older.commit("stoker", "forgotten")
    older.remove()

    assert prune_engine(bench, True)["engine_images"].count("stoker:forgotten") == 1
    assert engine.has("stoker:forgotten"), "a dry run removes nothing"
    prune_engine(bench, False)
    assert not engine.has("stoker:forgotten")
    assert engine.has(name)


def test_a_stopped_smoke_container_is_swept(cpu_image, engine: Engine):
    bench, _, image = cpu_image
    name = load_into_engine(image, bench, engine)
    left = engine.client.containers.create(name, ["true"], labels={"stoker.plan": "run"}, network_mode="none")
    volume = engine.client.volumes.create("stoker-smoke-test", labels={"stoker.smoke": "1"})
    assert prune_engine(bench, False)["engine_containers"] >= 1
    assert left.id not in [one.id for one in engine.client.containers.list(all=True)]
    assert volume.name not in [one.name for one in engine.client.volumes.list()]
