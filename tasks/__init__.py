"""The tasks: read arguments, call, show. A file for each heading of `./inv --list`, two for the fleet's.

Everything heavy is imported inside the task that needs it.
"""

from __future__ import annotations

from tasks import check, checkpoints, develop, fleet, images, plan, rent, see

VERSION = "0.1.0"
FILES = (see, plan, images, check, rent, fleet, checkpoints, develop)
