"""Errors a user can meet. Exit codes as in the whole project: 1 no, 2 wrong input, 3 outside failed, 4 refused,
75 (EX_TEMPFAIL of sysexits.h) stopped early and can be resumed."""

from __future__ import annotations

CHECK_FAILED = 1
WRONG_INPUT = 2
OUTSIDE_FAILED = 3
REFUSED = 4
STOPPED_EARLY = 75


class TrainerError(Exception):
    """What is wrong (one line), what to do next (one line), and the exit code."""

    def __init__(self, what: str, next_step: str = "", exit_code: int = WRONG_INPUT) -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step
        self.exit_code = exit_code
