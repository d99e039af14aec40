"""The BuildKit builder: the plan's Dockerfile and context, built by whichever command line reaches BuildKit here."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from images.builders.engine import Engine, login, space
from images.builders.route import ATTEST_BUILDX, Route, dotted
from images.builders.steps import Steps
from images.oci.digest import DIGEST
from images.plan import ImagePlan
from images.progress import Progress, Silent
from profiles.errors import OutsideFailed, WrongInput

PATIENCE = 5.0  # seconds an interrupted builder has to cancel its steps before it is killed


@dataclass(frozen=True, slots=True)
class Options:
    """What may differ between two builds of one plan without changing the image.

    secrets: build secret id -> file, seen only by the RUN steps that mount it; cache_from, cache_to: as buildx takes
    them (`type=registry,ref=...`; a bare reference also means that); network: of RUN steps, 'default', 'host' or
    'none'; no_cache: run every step again.
    """

    secrets: Mapping[str, Path] = field(default_factory=dict)
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    network: str | None = None
    no_cache: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """image_id: as the engine calls it, the config's digest on most engines; digest: of the manifest in the registry,
    None when nothing was pushed; cached: steps that the builder's cache answered; route: how it was built."""

    image_id: str
    digest: str | None
    tags: tuple[str, ...]
    cached: int
    route: Route


def build(
    plan: ImagePlan,
    context: Path,
    *,
    engine: Engine,
    tags: Sequence[str],
    push: bool = False,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Built:
    """Builds the context that `context.write` made of `plan` and gives the image its tags; pushes them when asked.

    The file system, environment and labels are the append builder's. The digest is not: an engine compresses by
    itself, and before BuildKit 0.13 it does not clamp the times of folders. Raises OutsideFailed with the failing
    step's last words, WrongInput for options that the builder here does not have.
    """
    return run(
        context, plan.platform, plan.epoch, engine=engine, tags=tags, push=push, options=options, progress=progress
    )


def run(
    context: Path,
    platform: str,
    epoch: int,
    *,
    engine: Engine,
    tags: Sequence[str],
    push: bool = False,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Built:
    """`build` for any folder with a Dockerfile; platform: 'linux/amd64'; epoch: SOURCE_DATE_EPOCH, in seconds."""
    route, report = engine.buildkit_route(), progress or Silent()
    with tempfile.TemporaryDirectory(prefix="stoker-build-") as scratch:
        outcome = Outcome(Path(scratch))
        line = command(route, context, platform, epoch, tags, push, options or Options(), outcome)
        report.say(f"building with {route.words}")
        with Steps(report) as steps:
            status = follow(line, engine.environ, steps)
        if status:
            for text in steps.tail():
                report.say(f"  {text}")
            raise OutsideFailed(f"BuildKit failed: {steps.failure()}", advice(steps.failure(), context))
        image_id, digest = outcome.read()
    if not push:
        digest = None
    elif route.in_engine:
        pushed = [engine.push(tag, progress=report) for tag in tags]
        digest = pushed[0]
    return Built(image_id, digest, tuple(tags), steps.cached, route)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the command writes what came out."""

    folder: Path

    @property
    def id_file(self) -> Path:
        return self.folder / "id"

    @property
    def metadata_file(self) -> Path:
        return self.folder / "metadata.json"

    def read(self) -> tuple[str, str | None]:
        """The image id, and the manifest's digest where the builder made one. Raises OutsideFailed."""
        image_id = self.id_file.read_text().strip() if self.id_file.exists() else ""
        metadata = json.loads(self.metadata_file.read_text()) if self.metadata_file.exists() else {}
        digest = metadata.get("containerimage.digest")
        image_id = metadata.get("containerimage.config.digest") or image_id
        if not DIGEST.fullmatch(image_id):
            raise OutsideFailed("the builder ended without naming an image", "run the same command again")
        return image_id, digest


def command(
    route: Route,
    context: Path,
    platform: str,
    epoch: int,
    tags: Sequence[str],
    push: bool,
    options: Options,
    outcome: Outcome,
) -> list[str]:
    """The command line. Raises WrongInput for an option that this builder does not have, or a push without a tag."""
    if push and not tags:
        raise WrongInput("nothing to push: the image has no tag", "give a registry and a repository")
    line = [route.docker, *(["buildx"] if route.buildx else []), "build", "--progress=plain", f"--platform={platform}"]
    line += [f"--build-arg=SOURCE_DATE_EPOCH={epoch}", f"--iidfile={outcome.id_file}"]
    line += [f"--tag={tag}" for tag in tags]
    line += [f"--secret={fields(id=name, src=str(path))}" for name, path in options.secrets.items()]
    line += [f"--cache-from={source}" for source in options.cache_from]
    line += [f"--network={options.network}"] if options.network else []
    line += ["--no-cache"] if options.no_cache else []
    if route.buildx:
        line += [f"--cache-to={target}" for target in options.cache_to]
        line += buildx_only(route, push, options, outcome)
    elif options.cache_to:
        raise WrongInput(
            f"{route.docker} {dotted(route.version)} cannot export a cache",
            "install the buildx plugin, or leave it out",
        )
    return [*line, str(context)]


def buildx_only(route: Route, push: bool, options: Options, outcome: Outcome) -> list[str]:
    """Flags of the plugin. Attestations are off: they would turn the manifest into an index; our SBOM is a referrer."""
    assert route.buildx is not None
    line = [f"--metadata-file={outcome.metadata_file}"]
    line += ["--provenance=false", "--sbom=false"] if route.buildx >= ATTEST_BUILDX else []
    if not route.in_engine:
        rewrite = ",rewrite-timestamp=true" if route.rewrite else ""
        line += [f"--output=type=image,push=true{rewrite}" if push else f"--output=type=docker{rewrite}"]
        line += ["--allow=network.host"] if options.network == "host" else []
    return line


def fields(**values: str) -> str:
    """`name=value` pairs as one CSV line, the way the CLI reads a secret: a comma in a path does not split it."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([f"{name}={value}" for name, value in values.items()])
    return line.getvalue()


def follow(line: Sequence[str], env: Mapping[str, str], steps: Steps) -> int:
    """Runs the builder, feeding `steps`; its exit status. Interrupted (Ctrl-C too), nothing of it goes on."""
    with own_group(line, {**env, "DOCKER_BUILDKIT": "1"}) as process:
        assert process.stdout is not None
        for text in process.stdout:
            steps.feed(text)
        return process.wait()


@contextmanager
def own_group(line: Sequence[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A child in a process group of its own: the terminal's Ctrl-C reaches us alone, and we end the whole group."""
    try:
        process = subprocess.Popen(
            line,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise OutsideFailed(f"cannot run {line[0]}: {error.strerror}", "./inv doctor") from None
    with process:
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Interrupts, then kills, what is left of the child's group. The client's end cancels the build in the engine."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is not None:
            break
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    with suppress(ProcessLookupError, PermissionError):  # plugins that outlive the CLI
        os.killpg(process.pid, signal.SIGKILL)


def advice(said: str, context: Path) -> str:
    """The next step for a failed build."""
    if re.search(r"unauthorized|denied|authentication required|\b40[13]\b", said, re.IGNORECASE):
        host = re.search(r"\b[a-z0-9.-]+\.[a-z0-9]+(:\d+)?/", said)
        return login(said, host[0] if host else "")
    if re.search(r"unable to locate package|has no installation candidate", said, re.IGNORECASE):
        return "correct the profile's system packages, or choose a base whose distribution has them"
    if re.search(
        r"could not resolve|temporary failure|connection (refused|timed out)|no such host", said, re.IGNORECASE
    ):
        return "check that containers here reach the network (or let RUN steps use the host's: network host)"
    return space(said) or f"to see more: docker build {context}"
