"""The sync process beside a training: when it is started, and how long its last pass may take."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from trainer.config import Config
from trainer.errors import TrainerError
from trainer.metrics import log
from trainer.parallel import port
from trainer.run.ends import LIMITS
from trainer.run.stop import SIGNALS, StopRequest
from trainer.sync.beside import Beside

GRACE = 20.0  # seconds after a signal: RunPod and `docker stop -t 30` give 30, of which the save took some
CHECKS = 2.0  # seconds between two looks at the process
LIMITED = 900.0  # a run that its time or dollars have ended costs money while it sends
PATIENT = 7 * 86400.0  # a run that came to its end waits for its last upload; Ctrl-C ends that


@contextmanager
def backup(config: Config, folder: Path, stop: StopRequest, rewound: int | None = None) -> Iterator[None]:
    """Sends the run's checkpoints to checkpoint.remote while the body trains, and the last ones after it.

    rewound: the step that the run was taken back to on purpose. After a signal the last pass gets STOKER_GRACE
    seconds; what is not sent then is sent by the next start. Raises TrainerError for a URL that can be no store.
    """
    url = config.checkpoint.remote
    if not url or not _mine(os.environ):
        yield
        return
    from trainer.stores.open import open_store

    open_store(url).close()  # a mistake in it should not be found at the first checkpoint
    grace = _grace(os.environ)
    asked = config.checkpoint
    folder.mkdir(parents=True, exist_ok=True)
    sync = Beside(
        folder.absolute(),
        url,
        asked.sync_seconds,
        asked.rate_mb,
        asked.remote_keep,
        asked.keep_every,
        _say,
        rewound=rewound,
    )
    over = threading.Event()

    def watch() -> None:
        while not over.wait(CHECKS):
            sync.check()

    with sync:
        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        try:
            yield
        finally:
            over.set()
            watching.join()
        _last_pass(sync, folder, stop, grace)


def _last_pass(sync: Beside, folder: Path, stop: StopRequest, grace: float) -> None:
    reason = _reason(folder)
    signalled = bool(stop.reason) or reason in {number.name for number in SIGNALS}
    seconds = grace if signalled else LIMITED if reason in LIMITS else PATIENT
    if not signalled:
        _say(f"sending what {sync.url} does not have yet; Ctrl-C leaves it to the next start")
    done: list[bool] = []
    finishing = threading.Thread(target=lambda: done.append(sync.finish(seconds)), daemon=True)
    finishing.start()
    while finishing.is_alive() and (signalled or not stop.reason):
        finishing.join(0.2)
    if stop.reason and not signalled:
        finishing.join(grace)
        if finishing.is_alive():
            sync.leave()
            finishing.join(10)
    if done and done[0]:
        _say(f"all checkpoints are at {sync.url}")
    else:
        _say(f"WARNING: not all checkpoints are at {sync.url} yet; the next start goes on with them, and")
        _say(f"`python -m trainer sync {folder} --to {sync.url}` sends them now, or says why it cannot")


def _mine(environ: Mapping[str, str]) -> bool:
    """Whether this process starts it: the parent of our own ranks, or rank 0 of another launcher."""
    return "RANK" not in environ or (environ["RANK"] == "0" and port.FOLDER not in environ)


def _grace(environ: Mapping[str, str]) -> float:
    text = environ.get("STOKER_GRACE") or str(GRACE)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise TrainerError(f"STOKER_GRACE is {text!r}", "give seconds, for example STOKER_GRACE=20")
    return seconds


def _reason(folder: Path) -> str:
    """Why the training ended, by its own last line."""
    lines = log.read(folder / log.TRAINING, tail_bytes=4096)
    return str(lines[-1].get("reason", "")) if lines else ""


def _say(text: str) -> None:
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}", file=sys.stderr, flush=True)
