"""A sync process whose store has faults: python syncing.py RUN URL '{"wishes": {...}, "passes": [["ok", "stall"]]}'.

passes: the faults of the first pass of this run, the second, and so on, counted across restarts in RUN/passes.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from tests.sim.faulty_store import FaultyStore
from trainer.stores.file import Folder
from trainer.sync import status
from trainer.sync.alive import Life
from trainer.sync.lock import alone
from trainer.sync.patience import Patience
from trainer.sync.process import Syncing, Wishes

PATIENCE = Patience(tries=5, first=0.05, most=0.2, slow=0.3)


def main(run: Path, url: str, asked: dict) -> int:
    def opened(url: str) -> FaultyStore:
        with (run / "passes").open("a+") as counter:
            counter.write("x")
            number = counter.tell() - 1
        return FaultyStore(Folder(url), asked.get("passes", [])[number : number + 1][:1] and asked["passes"][number])

    wishes = replace(Wishes(patience=PATIENCE), **asked.get("wishes", {}))
    if isinstance(wishes.parent, int):
        wishes = replace(wishes, parent=Life(wishes.parent))
    with alone(run, url):
        code = Syncing(run, url, wishes, status.Log(run, lambda text: print(text, flush=True)), opened=opened).go()
    print("torch" in sys.modules, "numpy" in sys.modules, os.nice(0))
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])))
