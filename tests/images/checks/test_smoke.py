"""Smoke, for real: the cpu image in containers of a real engine."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from images.build import Resolved
from images.builders.engine import Engine, connect
from images.builders.image import Image
from images.builders.load import load_into_engine
from images.checks import expected, smoke, training, versions
from images.progress import Silent
from images.workbench import Workbench
from profiles.errors import OutsideFailed, WrongInput

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench(cpu_image: tuple[Workbench, Resolved, Image]) -> Workbench:
    """Shares the bootstrapped base and the wheels with the other slow tests."""
    return cpu_image[0]


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The engine that STOKER_TEST_DOCKER_HOST names, or one of the tests' own; DOCKER_HOST points at it."""
    given = os.environ.get("STOKER_TEST_DOCKER_HOST") or request.getfixturevalue("docker_host")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", given)
        yield connect()


@pytest.fixture(scope="module")
def loaded(cpu_image: tuple[Workbench, Resolved, Image], engine: Engine) -> str:
    """The cpu image's name in the engine."""
    return load_into_engine(cpu_image[2], cpu_image[0], engine)


@pytest.fixture(scope="module")
def foreign(engine: Engine) -> str:
    """A tiny image that Stoker did not build."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("hello"))
    engine.api.import_image_from_data(content.getvalue(), repository="foreign", tag="1")
    return "foreign:1"


def leftovers(engine: Engine) -> tuple[list[Any], list[Any]]:
    containers = engine.client.containers.list(all=True, filters={"label": "stoker.plan=run"})
    return containers, engine.client.volumes.list(filters={"label": training.LABEL})


def altered(engine: Engine, image: str, name: str, script: str, **config: Any) -> str:
    """The image after a shell script, with other settings, as `docker commit` makes it."""
    raw = engine.client.containers.create(image, ["-c", script], entrypoint=["/bin/sh"], network="none", user="0")
    try:
        raw.start()
        assert raw.wait()["StatusCode"] == 0
        kept = engine.inspect(image)["Config"]
        conf = {**{key: kept[key] for key in ("Env", "Entrypoint", "Cmd", "WorkingDir", "Labels")}, **config}
        raw.commit(repository="smoked", tag=name, conf=conf)
    finally:
        raw.remove(force=True)
    return f"smoked:{name}"


def test_the_cpu_image_trains_survives_sigkill_and_goes_on_exactly(bench: Workbench, engine: Engine, loaded: str):
    result = smoke.smoke_image(bench, "cpu", None, 0)
    assert result["ok"], result["checks"]
    checks = {row["check"]: row["ok"] for row in result["checks"]}
    assert {"python", "imports", "wheels", "shadowing", "training", "SIGKILL", "resume", "losses", "checkpoint"} == set(
        checks
    )
    run = result["training"]
    assert run["killed"]["exit_code"] == 137
    assert 0 < run["resumed_from_step"] <= run["killed_after_step"] < run["steps"]
    assert run["last_loss"] < run["first_loss"]
    assert run["tolerance"] == 0.0
    assert len({run[name]["container"] for name in ("whole", "killed", "resumed")}) == 3
    assert result["image"]["name"] == loaded
    assert leftovers(engine) == ([], [])


def test_an_image_by_name_is_checked_against_the_plan_it_was_built_of(
    bench: Workbench, engine: Engine, loaded: str, cpu_image: tuple[Workbench, Resolved, Image]
):
    wanted = expected.of_reference(bench, engine, loaded)
    resolved = expected.of_resolved(cpu_image[1])
    assert (wanted.name, wanted.python, wanted.wheels) == (resolved.name, resolved.python, resolved.wheels)
    assert wanted.wheels["torch"].startswith("2.")


def test_a_wheel_that_was_replaced_and_a_path_that_shadows_are_found(bench: Workbench, engine: Engine, loaded: str):
    script = (
        "set -e; cd /opt/stoker/site; sed -i 's/^Version: .*/Version: 1.0/' numpy-*.dist-info/METADATA;"
        " mkdir -p /usr/lib/python3/dist-packages/numpy; touch /usr/lib/python3/dist-packages/numpy/__init__.py"
    )
    kept = engine.inspect(loaded)["Config"]["Env"]
    image = altered(engine, loaded, "shadowed", script, Env=[*kept, "PYTHONPATH=/opt/stoker/site"])
    wanted = expected.of_reference(bench, engine, image)
    found = versions.compare(wanted, smoke.look(training.Stage(engine, image, wanted)), gpus=False)
    rows = {one.check: one for one in found}
    assert rows["wheels"].ok is False
    assert "numpy is 1.0" in rows["wheels"].detail
    assert rows["shadowing"].ok is False
    assert "numpy" in rows["shadowing"].detail
    assert rows["python"].ok is True


def test_an_image_whose_trainer_fails_says_why(bench: Workbench, engine: Engine, loaded: str):
    image = altered(
        engine, loaded, "broken", "printf '#!/bin/sh\\necho no corpus >&2\\nexit 3\\n' >/opt/stoker/bin/train"
    )
    result = smoke.smoke_image(bench, "", image, 0)
    assert not result["ok"]
    row = next(row for row in result["checks"] if row["check"] == "training")
    assert row["ok"] is False
    assert "exit code 3" in row["detail"]
    assert "no corpus" in row["detail"]
    assert leftovers(engine) == ([], [])


def test_an_image_that_does_not_start_is_an_error_with_its_words(bench: Workbench, engine: Engine, loaded: str):
    image = altered(engine, loaded, "dead", "true", Entrypoint=["/bin/sh", "-c", "echo licence expired; exit 9"])
    with pytest.raises(OutsideFailed, match=r"did not start \(exit code 9\): .*licence expired"):
        smoke.smoke_image(bench, "", image, 0)
    assert leftovers(engine) == ([], [])


def test_an_image_user_may_write_to_the_volume(bench: Workbench, engine: Engine, loaded: str):
    image = altered(engine, loaded, "user", "true", User="1000:1000")
    wanted = replace(expected.of_reference(bench, engine, image), user="1000:1000")
    stage = training.Stage(engine, image, wanted)
    with stage.volume() as volume:
        attempt = stage.train(volume, 2, 1, Silent())
    assert attempt.code == 0, attempt.why
    assert attempt.last == 2
    assert leftovers(engine) == ([], [])


def test_a_container_that_hangs_is_killed_after_its_time(bench: Workbench, engine: Engine, loaded: str):
    wanted = expected.of_reference(bench, engine, loaded)
    stage = training.Stage(engine, loaded, wanted, seconds=1.0)
    with stage.container(["60"], {}, entrypoint=["sleep"]) as container:
        assert container.wait(30) == training.KILLED


def test_a_gpu_profile_is_refused_without_a_gpu_before_anything_is_fetched(bench: Workbench, engine: Engine):
    if smoke.has_gpus(engine):
        pytest.skip("this machine has a GPU")
    with pytest.raises(OutsideFailed, match="h100-fp8 needs 8 x h100-sxm") as caught:
        smoke.smoke_image(bench, "h100-fp8", None, 0)
    assert "--profile cpu" in caught.value.next_step


def test_an_image_that_is_not_ours_is_refused(bench: Workbench, foreign: str):
    with pytest.raises(WrongInput, match="not an image of ours"):
        smoke.smoke_image(bench, "", foreign, 0)


def test_an_image_in_a_registry_is_pulled_first(engine: Engine, foreign: str, registry: str):
    name = f"{registry}/smoke:1"
    engine.tag(foreign, name)
    engine.push(name)
    engine.api.remove_image(name)
    assert expected.pull(engine, name, Silent()) == name
    assert engine.has(name)
    with pytest.raises(OutsideFailed, match="smoke:2"):
        expected.pull(engine, f"{registry}/smoke:2", Silent())


def test_without_an_engine_the_error_says_how_to_get_one(bench: Workbench, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(OutsideFailed, match="no Docker Engine answers") as caught:
        smoke.smoke_image(bench, "cpu", None, 0)
    assert "docker.io" in caught.value.next_step


def test_ctrl_c_leaves_no_container_and_no_volume(bench: Workbench, engine: Engine, loaded: str):
    script = (
        "import sys; from pathlib import Path; from images.progress import Plain\n"
        "from images.workbench import open_workbench; from images.checks.smoke import smoke_image\n"
        f"smoke_image(open_workbench(Path({str(ROOT)!r}), Plain()), '', {loaded!r}, 0)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("killed after step"):  # the second container is about to start or runs
            break
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in words
    assert leftovers(engine) == ([], [])
