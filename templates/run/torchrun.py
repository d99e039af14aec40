#!/usr/bin/env python3
"""torchrun with honest exit codes: torchrun RANKS train ...

torchrun ends with 1 whatever its ranks ended with (75 too). So it is called as a library, and the code of the rank that
failed first is handed on; when it was told to stop, it no longer knows them, and the log's last line says how it ended.
"""

from __future__ import annotations

import sys
from pathlib import Path

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from trainer.errors import OUTSIDE_FAILED, STOPPED_EARLY
from trainer.metrics import log

RUN, RANKS, *ARGUMENTS = sys.argv[1:]


def ended() -> int:
    """75 when the newest line of the run says that it stopped, else 3: it was cut off."""
    last = log.read(Path(RUN) / log.TRAINING, tail_bytes=log.TAIL)[-1:]
    return STOPPED_EARLY if last and last[0].get("event") == "stop" else OUTSIDE_FAILED


try:
    run.main(["--standalone", "--nproc-per-node", RANKS, "-m", "--", "trainer", *ARGUMENTS])
except ChildFailedError as error:
    codes = [failure.exitcode for failure in error.failures.values()]
    _, first = error.get_first_failure()
    code = STOPPED_EARLY if set(codes) == {STOPPED_EARLY} else first.exitcode
    sys.exit(code if code > 0 else OUTSIDE_FAILED)
except SignalException:
    sys.exit(ended())
