"""The really built image where rented machines find it, and the weights that an unbroken run of it ends with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from images.build import Resolved
from images.builders.engine import Engine, connect
from images.builders.image import Image
from images.registry.push import push_image
from images.workbench import Workbench
from tests.conftest import ROOT
from tests.fleet.story.handed_out import HandedOut, handed_out, prepared
from tests.fleet.story.rehearsal import PATIENCE, STEPS
from tests.trainer.stores.conftest import bucket as bucket
from tests.trainer.stores.conftest import moto_server as moto_server

Built = tuple[Workbench, Resolved, Image]


@pytest.fixture(scope="session")
def pushed(cpu_image: Built, docker_host: str, registry: str) -> str:
    """HOST/NAME:TAG, pulled once so that no test waits for it again."""
    bench, _, image = cpu_image
    push_image(image, bench.registries.repository(f"{registry}/rented/stoker"), ["cpu"])
    name = f"{registry}/rented/stoker:cpu"
    connect(docker_host).api.pull(name)
    return name


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder."""
    return prepared(ROOT / "trainer" / "data" / "tales.txt", tmp_path_factory.mktemp("tokens") / "tales")


@pytest.fixture
def data(tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HandedOut]:
    """The data set of one run, private; the token for it is in the user's environment."""
    with handed_out(tokens, tmp_path / "hub") as made:
        monkeypatch.setenv("HF_TOKEN", made.server.reader)
        yield made


@pytest.fixture(scope="session")
def unbroken(
    pushed: str, docker_host: str, tokens: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[tuple[str, ...]], Path]:
    """The last checkpoint of a run by that command which nothing happened to; each command is run once."""
    engine: Engine = connect(docker_host)
    known: dict[tuple[str, ...], Path] = {}

    def trained(command: tuple[str, ...]) -> Path:
        if command not in known:
            volume = tmp_path_factory.mktemp("unbroken")
            with handed_out(tokens, tmp_path_factory.mktemp("hub")) as data:
                data.all()
                env = {"MODEL_TAG": "whole", "OMP_NUM_THREADS": "1", "HF_TOKEN": data.server.reader}
                with engine.running(
                    pushed,
                    list(command),
                    network="host",
                    mounts={str(volume): "/workspace"},
                    env={**env, **data.variables()},
                ) as container:
                    assert container.wait(PATIENCE) == 0, container.output()
            known[command] = volume / "runs" / "whole" / "checkpoints" / f"step-{STEPS:08d}"
        return known[command]

    return trained
