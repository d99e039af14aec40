"""A transfer that finishes the chunks on their way even if the command that began it is killed.

Docker's registry forgets a whole upload that is cut within a chunk (measured, see upload.py), so a SIGKILL half way
through a 4 GB layer would cost up to 4 GB. Therefore the transfer runs in a child of its own session; when the parent
is gone, the child ends each upload at its next chunk, leaves the journal, and exits. The same command, started at
once, waits for the child at the journal's locks and goes on. What kills both (power, a container's end) still loses
the open blobs on such registries, and nothing at all on those that keep to the specification.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from profiles.errors import OutsideFailed, StokerError, StoppedEarly

T = TypeVar("T")


def surviving(work: Callable[[], T]) -> T:
    """The result of `work`, or what it raised, done by a child process.

    To be called before threads are started (a progress bar included): the child is a fork. `work` must open its own
    connections. Ctrl-C is handed on: the child stops between chunks and StoppedEarly is raised; a second one is not
    waited for. Where there is no fork, `work` runs here.
    """
    if not hasattr(os, "fork") or threading.active_count() > 1:
        return work()
    life_read, life_write = os.pipe()  # the child sees its end when the parent is gone, however it went
    result_read, result_write = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(life_write)
        os.close(result_read)
        run_child(work, life_read, result_write)
    os.close(life_read)
    os.close(result_write)
    try:
        answer = collect(child, result_read)
    finally:
        os.close(life_write)
    ok, value = answer
    if not ok:
        raise value
    result: T = value
    return result


def run_child(work: Callable[[], Any], life: int, result: int) -> None:
    """Never returns: a fork must not run the parent's clean-up."""
    code = 1
    try:
        os.setsid()  # the terminal's Ctrl-C goes to the parent, which hands it on
        threading.Thread(target=watch, args=(life,), daemon=True).start()
        try:
            answer: tuple[bool, Any] = (True, work())
        except KeyboardInterrupt:
            answer = (False, StoppedEarly("stopped", "run the same command to go on"))
        except StokerError as failure:
            answer = (False, failure)
        except BaseException as failure:
            import traceback

            traceback.print_exc()
            answer = (False, OutsideFailed(f"the transfer failed: {type(failure).__name__}: {failure}"))
        sys.stdout.flush()
        sys.stderr.flush()
        with os.fdopen(result, "wb") as pipe:
            pickle.dump(answer, pipe)
        code = 0
    finally:
        os._exit(code)


def watch(life: int) -> None:
    os.read(life, 1)
    os.kill(os.getpid(), signal.SIGINT)


def collect(child: int, result: int) -> tuple[bool, Any]:
    """What the child has to say; hands interrupts on while it waits."""
    pieces, pipe = [], os.fdopen(result, "rb")
    while True:
        try:
            piece = pipe.read()
            pieces.append(piece)
            break
        except KeyboardInterrupt:
            os.kill(child, signal.SIGINT)
    pipe.close()
    _, status = os.waitpid(child, 0)
    try:
        answer: tuple[bool, Any] = pickle.loads(b"".join(pieces))
    except (EOFError, pickle.UnpicklingError):
        code = os.waitstatus_to_exitcode(status)
        return False, StoppedEarly(f"the transfer was ended from outside ({code})", "run the same command to go on")
    return answer
