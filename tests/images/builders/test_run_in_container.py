"""The default command of the real cpu image: stopped by `docker stop`, started again, and again elsewhere."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from images.build import Resolved
from images.builders.container import Container
from images.builders.engine import Engine
from images.builders.image import Image
from images.builders.load import load_into_engine
from images.workbench import Workbench

pytestmark = pytest.mark.slow
GRACE = 30  # seconds until docker stop sends SIGKILL
SECONDS = 180.0


def test_docker_stop_saves_and_the_same_container_or_a_new_one_goes_on(
    cpu_image: tuple[Workbench, Resolved, Image], engine: Engine, docker_host: str, tmp_path: Path
):
    bench, _, image = cpu_image
    name = load_into_engine(image, bench, engine)
    volume = tmp_path / "volume"
    volume.mkdir()
    run = volume / "runs" / "cpu"
    long = ["/opt/stoker/bin/run", "--steps", "1000000"]

    with engine.running(name, long, network="none", mounts={str(volume): "/workspace"}) as container:
        reached(run, 5)
        first = stopped(container, run)
        container.raw.start()
        reached(run, first + 5)
        second = stopped(container, run)
        assert f"resuming from step-{first:08d}" in container.output()
        assert "no volume" not in container.output()

    variables = {"SAVE_EVERY": "2", "STOKER_RESTARTS": "0"}
    short = ["/opt/stoker/bin/run", "--steps", str(second + 5)]
    with engine.running(name, short, network="none", mounts={str(volume): "/workspace"}, env=variables) as container:
        assert container.wait(SECONDS) == 0, container.output()
        assert f"resuming from step-{second:08d}" in container.output()
    assert last(run) == second + 5
    assert f"done at step {second + 5}" in (run / "run.log").read_text()


def test_without_a_command_it_runs(cpu_image, engine: Engine, docker_host: str):
    bench, _, image = cpu_image
    name = load_into_engine(image, bench, engine)
    with engine.running(name, network="none", env={"STOKER_GRACE": "5"}) as container:
        assert container.wait(SECONDS) == 0, container.output()
        assert "done at step 100" in container.output()


def test_its_help_needs_no_gpu_and_no_volume(cpu_image, engine: Engine, docker_host: str):
    bench, _, image = cpu_image
    name = load_into_engine(image, bench, engine)
    with engine.running(name, ["/opt/stoker/bin/run", "--help"], network="none") as container:
        assert container.wait(SECONDS) == 0 and "NANOCHAT_BASE_DIR" in container.output()


def stopped(container: Container, run: Path) -> int:
    """After `docker stop`: it ended by itself, with 75, and the step it had reached is saved. That step."""
    began = time.monotonic()
    container.raw.stop(timeout=GRACE)
    assert time.monotonic() - began < GRACE
    assert container.wait(10) == 75, container.output()
    step = last(run)
    assert (run / "checkpoints" / f"step-{step:08d}" / "manifest.json").exists()
    return step


def reached(run: Path, step: int) -> None:
    deadline = time.monotonic() + SECONDS
    while last(run) < step:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def last(run: Path) -> int:
    """The last step in the run's log."""
    file = run / "training_metrics.jsonl"
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    return max((json.loads(line).get("step", 0) for line in lines), default=0)
