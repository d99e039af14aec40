"""Last in every queue: what syncs must never slow the step loop."""

from __future__ import annotations

import ctypes
import os
import platform

# ioprio_set(2) has no wrapper in libc; numbers of the kernel's syscall tables
IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
WHO_PROCESS = 1
CLASS_IDLE = 3 << 13


def gentle() -> None:
    """nice 19, and disk time that nobody else wants; as far as this system lets us."""
    try:
        os.nice(19)
    except OSError:
        pass
    number = IOPRIO_SET.get(platform.machine())
    if number is not None:
        try:
            ctypes.CDLL(None, use_errno=True).syscall(number, WHO_PROCESS, 0, CLASS_IDLE)
        except (OSError, AttributeError):
            pass
