"""Trains in child processes that are killed at random moments, until one comes to its end. Prints the number of kills.

`python kill_lottery.py SEED KILLS train --run ...`. One process imports torch and forks: an attempt then costs
milliseconds, not seconds.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import torch  # noqa: F401  imported before the forks on purpose

from trainer.__main__ import main
from trainer.run import loop  # noqa: F401

draw = random.Random(int(sys.argv[1]))
limit = int(sys.argv[2])
kills = 0
while True:
    child = os.fork()
    if child == 0:
        os._exit(main(sys.argv[3:]))
    if kills < limit:
        time.sleep(draw.uniform(0.005, 0.25))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        break
    kills += 1
print(f"kills {kills}", file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
