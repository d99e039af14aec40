"""The sync process of a training: started with it, started again when it dies, and asked for a last pass at the end.

Nothing here raises into the training, and nothing waits, but `finish`.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from trainer.errors import CHECK_FAILED
from trainer.sync import status

AGAIN = 5.0  # seconds between two starts, at least; doubled for each one that did not live long
LONG_AGO = 300.0
LIVED = 60.0  # seconds; who lived so long did not die of its start
TRIES = 4  # of the last pass, when it ends by an error that more time does not mend
TOLD = 600.0  # seconds between two lines about the same trouble


class Beside:
    """`with Beside(run, url, ...) as sync:`; call sync.check() now and then and sync.finish(seconds) at the end.

    every: seconds between passes (a new checkpoint is sent at once in any case); rate: MB/s, 0 for no limit; keep,
    keep_every, rewound: what stays at the store, see prune.Rules; adopt: the URL may hold another run; say: gets lines
    for people. Leaving the block without `finish` lets the process end by itself, after a last pass, when this one has
    ended.
    """

    def __init__(
        self,
        run: Path,
        url: str,
        every: float = 300.0,
        rate: float = 0.0,
        keep: int = 0,
        keep_every: int = 0,
        say: Callable[[str], None] = lambda _: None,
        stall: float = 120.0,
        rewound: int | None = None,
        adopt: bool = False,
    ) -> None:
        self.run, self.url, self._say = Path(run), url, say
        shared = ["--to", url, "--rate", str(rate), "--stall", str(stall)]
        shared += ["--remote-keep", str(keep), "--remote-keep-every", str(keep_every)]
        shared += [] if rewound is None else ["--rewound", str(rewound)]
        shared += ["--adopt"] * adopt
        self._always = [*shared, "--every", str(every), "--parent", str(os.getpid())]
        self._last = [*shared, "--until-done", "--parent", str(os.getpid())]
        self._process: subprocess.Popen[bytes] | None = None
        self._words = _nowhere()
        self._started = self._not_before = 0.0
        self._deaths = 0
        self._told: dict[str, float] = {}
        self._left = False

    def __enter__(self) -> Beside:
        self._start(self._always)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves it: it sees our end, makes a last pass and goes."""

    @property
    def pid(self) -> int | None:
        """Of the process; None when it is not running."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def check(self) -> None:
        """Starts it again if it has died, and passes on what troubles it. Takes well below a millisecond, mostly."""
        self._relay()
        if self._process is None or self._process.poll() is not None:
            now = time.monotonic()
            if self._process is not None:
                code, self._process = self._process.returncode, None
                self._deaths = 0 if now - self._started > LIVED else self._deaths + 1
                pause = min(LONG_AGO, AGAIN * 2.0 ** min(self._deaths, 10)) if self._deaths else AGAIN
                self._not_before = now + pause
                why = f"exit code {code}{self._last_words()}"
                self._tell(f"the sync process ended ({why}); it starts again in {pause:.0f} s", "death")
            elif now >= self._not_before:
                self._start(self._always)

    def finish(self, seconds: float) -> bool:
        """Asks for a last pass and waits at most that long; whether all checkpoints are at the store.

        What is not sent then stays resumable: the next sync of this run goes on with it.
        """
        deadline = time.monotonic() + seconds
        code, tries = self._asked(deadline), 0
        # it waits out a network that fails; what makes it end is a bad token, a full quota, a checkpoint that is bad
        while code not in (0, CHECK_FAILED) and self._process is None and tries < TRIES and not self._left:
            time.sleep(max(0.0, min(2.0**tries - 1, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                break
            self._start(self._last)
            code, tries = self._wait(deadline), tries + 1
        self._stop()
        self._relay()
        return code == 0

    def leave(self) -> None:
        """Ends it where it is, also while another thread waits in `finish`: a later sync goes on from there."""
        self._left = True
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()

    def _asked(self, deadline: float) -> int | None:
        """Its exit code, when it could be asked and answered in time."""
        process = self._process
        if process is None:
            return None
        try:
            process.send_signal(signal.SIGUSR1)
        except OSError:
            pass
        return self._wait(deadline)

    def _wait(self, deadline: float) -> int | None:
        if self._process is None:
            return None
        try:
            code = self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None
        self._process = None
        return code

    def _stop(self) -> None:
        """Its transfer dies with it (see attend)."""
        if self._process is not None:
            try:
                self._process.kill()
                self._process.wait(10)
            except (OSError, subprocess.TimeoutExpired):
                pass
            self._process = None

    def _start(self, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "trainer", "sync", str(self.run), *arguments]
        self._started = time.monotonic()
        self._not_before = self._started + AGAIN
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._words,  # not ours: it outlives us for a last pass, and who reads ours would wait for it
                start_new_session=True,
                env=_environment(),
            )
        except (OSError, ValueError) as error:
            self._tell(f"the sync process cannot be started: {error}", "start")

    def _last_words(self) -> str:
        """What it said last on its standard error."""
        try:
            size = os.fstat(self._words).st_size
            text = os.pread(self._words, 1000, max(0, size - 1000)).decode("utf-8", "replace")
            os.ftruncate(self._words, 0)
        except OSError:
            return ""
        lines = [line.strip() for line in text.strip().splitlines()]
        return ": " + " ".join(lines[-2:]) if lines else ""

    def _relay(self) -> None:
        """What sync.json says is wrong."""
        content = status.read(self.run)
        error = content.get("error")
        if error and content.get("remote") == self.url:
            self._tell(f"sync to {self.url}, {content.get('state')}: {error}", str(content.get("state")))

    def _tell(self, text: str, trouble: str) -> None:
        now = time.monotonic()
        if now - self._told.get(trouble, -TOLD) >= TOLD:
            self._told[trouble] = now
            try:
                self._say(f"WARNING: {text}")
            except Exception:
                pass


def _nowhere() -> int:
    """A file without a name, in memory where the system has that; else nothing is kept."""
    try:
        handle = os.memfd_create("sync")
        fcntl.fcntl(handle, fcntl.F_SETFL, os.O_APPEND)
        return handle
    except (OSError, AttributeError):
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def _environment() -> dict[str, str]:
    """Ours, without what makes a process believe it is a rank of the training."""
    ranks = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
    own = {name: value for name, value in os.environ.items() if name not in ranks}
    place = str(Path(__file__).resolve().parents[2])
    paths = [place, *filter(None, [own.get("PYTHONPATH")])]
    return {**own, "PYTHONPATH": os.pathsep.join(paths)}
