"""Train in real containers: one that is killed and resumed, one that is left alone; and compare what they did."""

from __future__ import annotations

import io
import json
import re
import secrets
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from images.checks.expected import Expected
from images.checks.finding import Finding
from images.plan import BIN
from images.progress import Progress

if TYPE_CHECKING:
    from images.builders.container import Container
    from images.builders.engine import Engine

SECONDS = 900.0  # for one container; an image of 20 GB on a cold disk takes minutes to import torch
ENDLESS = 10_000_000  # steps of the attempt that is killed
KILLED = 137  # 128 + SIGKILL, as engines report it
LABEL = "stoker.smoke"
GPU_TOLERANCE = 2e-3  # relative; some CUDA kernels add in any order, and bf16 has 8 bits


@dataclass(frozen=True)
class Attempt:
    """One container that trained. losses: step -> loss; words: its last lines that were no steps."""

    container: str
    code: int
    losses: Mapping[int, float]
    seconds: float
    words: Sequence[str] = ()
    checkpoint: Mapping[str, Any] | None = None  # manifest of the newest

    @property
    def last(self) -> int:
        """The last step that was done; 0: none."""
        return max(self.losses, default=0)

    @property
    def why(self) -> str:
        return f"exit code {self.code}: {' | '.join(self.words) or 'without a word'}"


@dataclass(frozen=True)
class Stage:
    """Where attempts run: an image in an engine, started as the profile wants it, without network."""

    engine: Engine
    image: str
    expected: Expected
    gpus: int = 0
    arguments: Sequence[str] = ()  # more flags for train
    seconds: float = SECONDS
    sign: list[float] = field(default_factory=lambda: [time.monotonic()])

    @contextmanager
    def container(self, command: Sequence[str], mounts: Mapping[str, str], **more: Any) -> Iterator[Container]:
        """A container of the image, killed after `seconds`."""
        options = {**self.expected.options, **more}
        with self.engine.running(
            self.image, command, mounts=mounts, gpus=self.gpus, network="none", **options
        ) as container:
            alarm = threading.Timer(self.seconds, kill, [container])
            alarm.daemon = True
            alarm.start()
            try:
                yield container
            finally:
                alarm.cancel()

    @contextmanager
    def volume(self) -> Iterator[str]:
        """A volume of the engine's own: it works for an engine on another machine too, and root's files in it vanish
        with it, whoever we are."""
        from images.builders.engine import translated

        with translated("making a volume"):
            made = self.engine.client.volumes.create(f"stoker-smoke-{secrets.token_hex(6)}", labels={LABEL: "1"})
        try:
            if self.expected.user:  # as a provider's volume: the image's user may write to it
                mounts, mode = {str(made.name): self.expected.mount}, ["0777", self.expected.mount]
                with self.container(mode, mounts, entrypoint=["chmod"], user="0") as container:
                    container.wait(60)
            yield str(made.name)
        finally:
            with translated("removing a volume"):
                made.remove(force=True)

    def train(
        self, volume: str, steps: int, save_every: int, progress: Progress, kill_at: int | None = None
    ) -> Attempt:
        """One attempt at the run on `volume`. kill_at: SIGKILL as soon as that step was seen."""
        run = f"{self.expected.mount}/smoke"
        command = [f"/{BIN}/train", "--run", run, "--steps", str(steps), "--save-every", str(save_every)]
        losses, words, began, killed = dict[int, float](), list[str](), time.monotonic(), False
        with self.container([*command, *self.arguments], {volume: self.expected.mount}) as container:
            for line in container.follow():
                if step := step_of(line):
                    losses[step[0]] = step[1]
                    self.tell(progress, step[0], steps)
                elif line.strip():
                    words = [*words[-3:], line.strip()]
                if kill_at is not None and not killed and losses and max(losses) >= kill_at:
                    killed = kill(container)
            code = container.wait(60)
            manifest = newest(container, f"{run}/checkpoints")
        return Attempt(container.id, code, losses, time.monotonic() - began, words, manifest)

    def tell(self, progress: Progress, step: int, steps: int) -> None:
        """A line every five seconds."""
        if time.monotonic() - self.sign[0] >= 5:
            self.sign[0] = time.monotonic()
            progress.say(f"  step {step}" + (f" of {steps}" if steps < ENDLESS else ""))


def kill(container: Container) -> bool:
    """SIGKILL; False when it has ended by itself already."""
    from profiles.errors import OutsideFailed

    try:
        container.kill("SIGKILL")
    except OutsideFailed:
        return False
    return True


def step_of(line: str) -> tuple[int, float] | None:
    """(step, loss) of a line that the trainer prints for a step; None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
        return (int(value["step"]), float(value["loss"])) if value.get("event") == "step" else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def newest(container: Container, folder: str) -> dict[str, Any] | None:
    """The manifest of the checkpoint that `latest` names, read out of a container that may have ended."""
    name = read(container, f"{folder}/latest")
    if name is None or not re.fullmatch(r"step-\d+", name.strip()):
        return None
    try:
        value = json.loads(read(container, f"{folder}/{name.strip()}/manifest.json") or "")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def read(container: Container, path: str) -> str | None:
    """A small file of a container; None without it."""
    import docker

    try:
        pieces, _ = container.raw.get_archive(path)
    except docker.errors.NotFound:
        return None
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        member = archive.next()
        reader = archive.extractfile(member) if member else None
        return reader.read().decode(errors="replace") if reader else None


def compare(whole: Attempt, killed: Attempt, resumed: Attempt, tolerance: float) -> list[Finding]:
    """The run that was killed against the one that was left alone. tolerance: relative, 0: every bit."""
    steps = whole.last
    missing = [step for step in range(1, steps + 1) if step not in whole.losses]
    fine = whole.code == 0 and steps > 0 and not missing
    ends = f"{steps} steps, loss {whole.losses.get(1, 0):.4f} -> {whole.losses.get(steps, 0):.4f}"
    trained = Finding("training", fine, ends if fine else f"{whole.why}; missing steps: {missing or 'all'}")
    dead = killed.code == KILLED and killed.last > 0
    shot = Finding("SIGKILL", dead, f"after step {killed.last}" if dead else f"it had ended: {killed.why}")
    return [
        trained,
        shot,
        resume(killed, resumed),
        losses(whole, killed, resumed, tolerance),
        weights(whole, resumed, tolerance),
    ]


def resume(killed: Attempt, resumed: Attempt) -> Finding:
    """It went on from the checkpoint that the killed container had left, neither from the start nor beyond it."""
    left = int((killed.checkpoint or {}).get("step", 0))
    first = min(resumed.losses, default=0)
    if resumed.code != 0:
        return Finding("resume", False, resumed.why)
    if left == 0 or first != left + 1:
        return Finding("resume", False, f"went on with step {first}, the newest checkpoint was of step {left}")
    return Finding("resume", True, f"from the checkpoint of step {left}; {killed.last - left} lost steps done again")


def losses(whole: Attempt, killed: Attempt, resumed: Attempt, tolerance: float) -> Finding:
    """Each step of both attempts against the same step of the whole run."""
    different, most = [], 0.0
    after = {**killed.losses, **resumed.losses}
    gone = sorted(set(whole.losses) ^ set(after))
    for attempt in (killed, resumed):
        for step, loss in sorted(attempt.losses.items()):
            reference = whole.losses.get(step, loss)
            apart = abs(loss - reference) / max(abs(reference), 1e-12) if loss != reference else 0.0
            most = max(most, apart)
            if not apart <= tolerance:  # so that a NaN is a difference
                different.append(f"step {step}: {loss!r}, was {reference!r}")
    if gone or different:
        what = [f"steps that only one run did: {gone}"] if gone else []
        return Finding("losses", False, "; ".join([*what, *different[:3]]))
    words = "bitwise equal" if most == 0 else f"equal within {most:.1e} (tolerance {tolerance:g}, GPU)"
    return Finding("losses", True, f"{len(whole.losses)} steps {words}")


def weights(whole: Attempt, resumed: Attempt, tolerance: float) -> Finding:
    """The final checkpoints, by the sha256 of their files. Where losses may differ, so may they: then a note."""
    if whole.checkpoint is None or resumed.checkpoint is None:
        return Finding("checkpoint", False, "a run left no checkpoint")
    first, second = whole.checkpoint, resumed.checkpoint
    if not first["step"] == second["step"] == whole.last:
        return Finding("checkpoint", False, f"of step {first['step']} and of step {second['step']}")
    names = sorted({*first["files"], *second["files"]})
    unequal = [name for name in names if digest(first, name) != digest(second, name)]
    if unequal:
        return Finding("checkpoint", None if tolerance else False, f"differs: {', '.join(unequal)}")
    return Finding("checkpoint", True, f"{len(names)} files with equal sha256")


def digest(manifest: Mapping[str, Any], name: str) -> str | None:
    """The sha256 of a file by its manifest."""
    found: str | None = (manifest["files"].get(name) or {}).get("sha256")
    return found
