"""A process that sends one file and is killed in the middle: `python sender.py KIND URL PART FILE NAME KILL_AFTER`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from trainer.stores.file import Folder
from trainer.stores.gs import Gs
from trainer.stores.s3 import S3
from trainer.stores.ssh import Ssh
from trainer.stores.store import Item


def killed(kind: str, url: str, file: Path, name: str, after: int, part: int = 0) -> None:
    """Starts such a process and waits until SIGKILL has ended it, after `after` bytes of the file went out."""
    command = [sys.executable, "-m", "tests.trainer.stores.sender", kind, url, str(part), str(file), name, str(after)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.returncode == -signal.SIGKILL, (done.returncode, done.stderr)


def main(kind: str, url: str, part: int, file: Path, name: str, after: int) -> None:
    makers = {"file": Folder, "ssh": Ssh, "s3": lambda url: S3(url, part), "gs": lambda url: Gs(url, part)}
    sent = 0

    def moved(size: int) -> None:
        nonlocal sent
        sent += size
        if sent >= after:
            os.kill(os.getpid(), signal.SIGKILL)

    makers[kind](url).put([Item(name, file, file.stat().st_size)], moved)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), sys.argv[5], int(sys.argv[6]))
