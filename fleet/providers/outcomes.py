"""How a create can end other than well. The ledger's next step hangs on the difference (providers.md 0.1)."""

from __future__ import annotations

from enum import StrEnum

from profiles.errors import OutsideFailed, WrongInput


class Because(StrEnum):
    """Why nothing was created."""

    CAPACITY = "capacity"  # this offer is gone or was never there: the next one
    FORBIDDEN = "forbidden"  # not for this account: the next one
    CREDIT = "credit"  # stop: no offer will do
    KEY = "key"  # stop
    INVALID = "invalid"  # stop: the request itself is wrong everywhere
    BUSY = "busy"  # asked too often, refused before anything was done: wait `after` seconds, the same again


class NotCreated(OutsideFailed):
    """The provider refused, and nothing of it is billed. after: seconds to wait, for BUSY."""

    def __init__(self, because: Because, what: str, next_step: str = "", after: float = 0.0) -> None:
        super().__init__(what, next_step)
        self.because = because
        self.after = after


class CreatedAnyway(OutsideFailed):
    """Refused, and something was created all the same (Vast: a bid too low, providers.md 2.5): it has to be ended."""

    def __init__(self, id: str, what: str, next_step: str = "") -> None:
        super().__init__(what, next_step)
        self.id = id


class Unclear(OutsideFailed):
    """Nobody knows whether it was created: a lost answer, a 5xx, an answer without an id. Look before anything else."""


class Unable(WrongInput):
    """This provider cannot do that at all; the next step says what to do instead."""
