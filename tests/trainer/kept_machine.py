"""A machine with a keeper on it, as a process here, and its provider beside it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.trainer.baked import SECONDS, Image, until
from tests.trainer.machine_end import Provider

KEY = "rpa_HUSHHUSHHUSHHUSHHUSH"
RUNPOD = {"RUNPOD_POD_ID": "7h9k2m4n6p", "RUNPOD_API_KEY": KEY}
VAST = {"CONTAINER_ID": "20118481", "CONTAINER_API_KEY": KEY}
POD = "/v2/pods/7h9k2m4n6p"
MINUTE = 60.0
SLEEPS = ("sh", "-c", "trap 'echo saved >saved; exit 75' TERM; touch began; while :; do sleep 0.05; done")


class Machine:
    """A container with a keeper as its first process, and what its provider sees of it."""

    def __init__(self, image: Image, provider: Provider, folder: Path) -> None:
        self.image, self.provider, self.said = image, provider, folder / "said"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *command: str, dies: bool = True, **variables: str) -> subprocess.Popen[bytes]:
        """keeper COMMAND; the provider kills all of it once it was told to, as it does."""
        own = {
            "STOKER_PROVIDER_URL": self.provider.url,
            "STOKER_CLOCK": f"{self.provider.url}/",
            "STOKER_TAG": self.tag,
        }
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [str(self.image.bin / "keeper"), *command],
                env={**self.image.environment, **own, **variables},
                cwd=self.image.volume,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self.provider.machine = self.process.pid if dies else 0
        return self.process

    @property
    def tag(self) -> str:
        return f"stk-test-{os.getpid()}-{id(self)}"

    def words(self) -> str:
        return self.said.read_text()

    def gone(self) -> int:
        assert self.process is not None
        return self.process.wait(SECONDS)

    def looked(self, times: int) -> None:
        """Waits until the keeper has looked so often again, from begin to end: it asks for the time at every look."""
        enough = self.provider.looks + times + 1
        until(lambda: self.provider.looks >= enough)

    def pass_time(self, seconds: float) -> None:
        self.provider.now += seconds


@contextmanager
def kept(folder: Path, environment: dict[str, str], provider: Provider) -> Iterator[Machine]:
    """One, and none of it afterwards."""
    found = Machine(Image(folder / "image", environment), provider, folder)
    try:
        yield found
    finally:
        if found.process is not None:
            try:
                os.killpg(found.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            found.process.wait()
