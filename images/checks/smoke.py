"""Smoke: start the image in real containers, compare its versions with the lock, train, kill, resume, compare."""

from __future__ import annotations

import json
import random
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from images.checks import drivers, expected, inside, training, versions
from images.checks.expected import Expected
from images.checks.finding import Finding, report
from images.checks.machine import is_local
from images.checks.training import Attempt, Stage
from profiles.errors import OutsideFailed, WrongInput

if TYPE_CHECKING:
    from images.builders.engine import Engine
    from images.workbench import Workbench

STEPS = 24  # of the run that is compared; at least
SAVE_EVERY = 5


def smoke_image(
    bench: Workbench, profile_name: str, ref: str | None, gpus: int = 0, *, steps: int = STEPS
) -> dict[str, Any]:
    """`{"ok", "checks", "image", "versions", "training", "seconds"}`; see cli/show.findings.

    ref: an image of a registry or of the engine instead of the profile's; gpus: how many, -1 all, 0: all when the
    profile has any. Raises OutsideFailed: no engine, no GPU for a profile that needs one.
    """
    from images.builders.engine import connect_or_install

    if not profile_name and not ref:
        raise WrongInput("neither profile nor image named", "--profile NAME, or --ref HOST[:PORT]/NAME:TAG")
    started = time.monotonic()
    engine = connect_or_install(bench.progress)
    image, wanted = by_reference(bench, engine, ref) if ref else by_profile(bench, engine, profile_name, gpus)
    count = gpu_count(engine, wanted.name, wanted.gpu, gpus)
    stage = Stage(engine, image, wanted, count)
    bench.progress.say(f"starting {image}: environment")
    seen = look(stage)
    findings = versions.compare(wanted, seen, bool(count))
    trained: dict[str, Any] = {}
    if seen["environment"].get("torch"):
        rows, trained = train(bench, stage, seen, steps)
        findings += rows
    return report(
        findings,
        image=image_row(engine, image),
        versions=seen["environment"],
        training=trained,
        seconds=round(time.monotonic() - started, 3),
    )


def by_profile(bench: Workbench, engine: Engine, name: str, gpus: int) -> tuple[str, Expected]:
    """The profile's image, built if it is not, in the engine. A missing GPU is told before anything is fetched."""
    from images.build import build, resolve_profile
    from images.builders.load import load_into_engine
    from profiles.load import load

    profile = load(name)
    gpu_count(engine, profile.name, (profile.gpu.type, profile.gpu.count) if profile.gpu else None, gpus)
    resolved = resolve_profile(bench, name)
    wanted = expected.of_resolved(resolved)
    if bench.settings.get("builder") == "buildkit":
        from images.builders.by_buildkit import build_by_buildkit

        return build_by_buildkit(resolved).names[0], wanted
    return load_into_engine(build(resolved), bench, engine), wanted


def by_reference(bench: Workbench, engine: Engine, reference: str) -> tuple[str, Expected]:
    """An image of a registry or of the engine."""
    name = expected.pull(engine, reference, bench.progress)
    return name, expected.of_reference(bench, engine, name)


def gpu_count(engine: Engine, name: str, gpu: tuple[str, int] | None, gpus: int) -> int:
    """How many GPUs to ask the engine for, -1: all. Raises OutsideFailed when there is none but must be."""
    if gpu is None and gpus == 0:
        return 0
    if not has_gpus(engine):
        needs = f"profile {name} needs {gpu[1]} x {gpu[0]}" if gpu else f"--gpus {gpus} asks for GPUs"
        raise OutsideFailed(
            f"{needs}, but this engine has no NVIDIA GPU",
            "run smoke on a GPU host (DOCKER_HOST may name one), or try the cpu profile: ./inv smoke --profile cpu",
        )
    return gpus or -1


def has_gpus(engine: Engine) -> bool:
    """A driver here, or a runtime or device for NVIDIA in an engine that may be elsewhere."""
    info = engine.client.info()
    devices = [str(one.get("ID", "")) for one in info.get("DiscoveredDevices") or ()]
    named = "nvidia" in (info.get("Runtimes") or {}) or any(one.startswith("nvidia.com/gpu") for one in devices)
    return named or (is_local(engine) and drivers.read().version is not None)


def look(stage: Stage) -> dict[str, Any]:
    """What inside.py finds in a container. Raises OutsideFailed when it says nothing."""
    script = Path(inside.__file__).read_text("utf-8")
    command = ["python3", "-c", script, json.dumps(sorted(stage.expected.wheels))]
    try:
        with stage.container(command, {}) as container:
            lines = list(container.follow())
            code = container.wait(60)
    except OutsideFailed as error:
        if "device driver" in error.what:  # 'could not select device driver "" with capabilities: [[gpu]]'
            raise OutsideFailed(error.what, "install nvidia-container-toolkit and restart the engine") from None
        raise
    for line in reversed(lines):
        if line.startswith(inside.MARK):
            found: dict[str, Any] = json.loads(line.removeprefix(inside.MARK))
            return found
    last = " | ".join(line.strip() for line in lines[-3:]) or "it wrote nothing"
    raise OutsideFailed(f"{stage.image} did not start (exit code {code}): {last}", "docker run it by hand to see more")


def train(bench: Workbench, stage: Stage, seen: dict[str, Any], steps: int) -> tuple[list[Finding], dict[str, Any]]:
    """Killed and resumed first, whole afterwards: so the kill can come at any step, and never too late, however fast
    the machine is; the run that is compared ends a few steps later."""
    small = [word for name, value in seen["small"].items() for word in ("--set", f"{name}={value}")]
    limit = ["--time-limit", f"{stage.seconds:.0f}"]  # if we are killed ourselves, the container still ends
    stage = Stage(stage.engine, stage.image, stage.expected, stage.gpus, [*small, *limit], stage.seconds)
    aim = random.randrange(SAVE_EVERY + 1, max(SAVE_EVERY + 2, steps - SAVE_EVERY))
    tolerance = training.GPU_TOLERANCE if stage.gpus else 0.0
    say = bench.progress.say
    with ExitStack() as volumes:
        mine, other = (volumes.enter_context(stage.volume()) for _ in range(2))
        say(f"training, to be killed at step {aim}")
        killed = stage.train(mine, training.ENDLESS, SAVE_EVERY, bench.progress, kill_at=aim)
        if killed.code != training.KILLED or killed.last < aim:
            return [Finding("training", False, killed.why)], {"killed": row(killed)}
        total = max(steps, killed.last + SAVE_EVERY)
        say(f"killed after step {killed.last}; resuming, to step {total}")
        resumed = stage.train(mine, total, SAVE_EVERY, bench.progress)
        say(f"training {total} steps undisturbed")
        whole = stage.train(other, total, SAVE_EVERY, bench.progress)
    found = training.compare(whole, killed, resumed, tolerance)
    facts = {
        "steps": whole.last,
        "save_every": SAVE_EVERY,
        "killed_after_step": killed.last,
        "resumed_from_step": min(resumed.losses, default=1) - 1,
        "first_loss": whole.losses.get(1),
        "last_loss": whole.losses.get(whole.last),
        "tolerance": tolerance,
        **{name: row(one) for name, one in (("whole", whole), ("killed", killed), ("resumed", resumed))},
    }
    return found, facts


def row(attempt: Attempt) -> dict[str, Any]:
    """An attempt as the JSON result shows it."""
    return {
        "container": attempt.container,
        "exit_code": attempt.code,
        "first_step": min(attempt.losses, default=None),
        "last_step": attempt.last,
        "seconds": round(attempt.seconds, 3),
    }


def image_row(engine: Engine, image: str) -> dict[str, Any]:
    """Name and digests: the id is the digest of the config; by_digest is known once a registry has it."""
    found = engine.inspect(image)
    return {"name": image, "id": found["Id"], "by_digest": found.get("RepoDigests") or [], "engine": engine.version}
