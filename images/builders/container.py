"""A running container: what smoke tests do with one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from profiles.errors import OutsideFailed

if TYPE_CHECKING:
    from docker.models.containers import Container as Raw


@dataclass(frozen=True)
class Container:
    """A started container of Engine.running, which also removes it."""

    raw: Raw

    @property
    def id(self) -> str:
        return str(self.raw.id)

    def wait(self, timeout: float) -> int:
        """The exit status, once it ends. timeout: seconds. Raises OutsideFailed when it goes on longer."""
        import requests

        try:
            return int(self.raw.wait(timeout=timeout)["StatusCode"])
        except (requests.exceptions.ReadTimeout, requests.exceptions.ConnectionError):
            raise OutsideFailed(
                f"the container did not end within {timeout:.0f} s", f"see what it does: docker logs {self.id[:12]}"
            ) from None

    def follow(self) -> Iterator[str]:
        """The lines of both outputs as they come, until the container ends."""
        rest = b""
        for piece in self.raw.logs(stream=True, follow=True):
            *lines, rest = (rest + piece).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
        if rest:
            yield rest.decode(errors="replace")

    def output(self, *, stderr: bool = True) -> str:
        """What it has written so far; stderr: standard error too."""
        return self.raw.logs(stdout=True, stderr=stderr).decode(errors="replace")

    def kill(self, signal: str = "SIGKILL") -> None:
        """Sends a signal to its first process. Raises OutsideFailed when it is no longer running."""
        import docker

        try:
            self.raw.kill(signal)
        except docker.errors.APIError as error:
            raise OutsideFailed(f"cannot send {signal} to the container: {error.explanation}") from None

    def execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Exit status and outputs of another command inside."""
        done: Any = self.raw.exec_run(list(command))
        return int(done.exit_code), done.output.decode(errors="replace")


def gpu_requests(gpus: int | Sequence[str]) -> list[dict[str, Any]]:
    """What `docker run --gpus` asks for: a number (-1: all) or device ids."""
    from docker.types import DeviceRequest

    if isinstance(gpus, int):
        return [DeviceRequest(count=gpus, capabilities=[["gpu"]])]
    return [DeviceRequest(device_ids=list(gpus), capabilities=[["gpu"]])]
