"""The errors a user can meet: one line that says what is wrong, one that says what to do next.

The exit codes are the command contract: 1 the answer is no, 2 wrong input, 3 something outside failed,
4 refused for safety, 75 (EX_TEMPFAIL of sysexits.h) stopped early and can be resumed.
"""

from __future__ import annotations


class StokerError(Exception):
    """Base of every error that reaches the user.

    Attributes: `what` is wrong (one line), `next_step` (one line, may be empty), `exit_code`.
    """

    exit_code = 3

    def __init__(self, what: str, next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step


class CheckFailed(StokerError):
    """The answer is no: a failed check, drift, a difference."""

    exit_code = 1


class WrongInput(StokerError):
    """Usage, profile, reference or file that cannot be used as given."""

    exit_code = 2


class OutsideFailed(StokerError):
    """A registry, a provider, the network, the engine or the disk failed."""

    exit_code = 3


class Refused(StokerError):
    """Refused for safety: an existing tag, a secret, a dirty tree, a budget."""

    exit_code = 4


class StoppedEarly(StokerError):
    """Stopped before the end; the same command goes on where it stopped."""

    exit_code = 75
