"""One sync at a time for a run and a URL."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import OUTSIDE_FAILED, REFUSED, TrainerError
from trainer.sync.claims import tag

PAUSE = 0.25  # seconds between two looks


@contextmanager
def alone(run: Path, url: str, wait: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Holds RUN/sync-TAG.lock. The kernel lets go when this process and the transfer it started are gone.

    wait: whether to go on waiting for another that holds it. Raises TrainerError, exit code 4, when it is held, 3 when
    the run folder cannot be written.
    """
    try:
        handle = os.open(run / f"sync-{tag(url)}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        hint = "give the run folder of `train --run`"
        raise TrainerError(f"cannot write in {run}: {error.strerror}", hint, OUTSIDE_FAILED) from None
    try:
        while not _locked(handle):
            if not wait():
                hint = f"see {run / 'sync.json'}; wait for it, or stop it"
                raise TrainerError(f"another process is syncing {run} to {url}", hint, REFUSED)
            time.sleep(PAUSE)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks: one process is then the user's promise
    return True
