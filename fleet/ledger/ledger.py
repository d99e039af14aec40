"""The ledger: wishes, attempts, machines, what happened and what it cost. Open it with `opening.open_ledger`."""

from __future__ import annotations

from typing import Self

from fleet.ledger.attempts import Attempts
from fleet.ledger.export import exported
from fleet.ledger.wishes import Wishes


class Ledger(Attempts, Wishes):
    """Everything that must not be forgotten, in one SQLite file; several processes may have it open at once.

    Every method that writes raises OutsideFailed when the change is not on disk (disk full, read-only, replaced).
    """

    def __enter__(self) -> Self:
        return self

    def export(self, what: str = "all", form: str = "json") -> str:
        """Its content as text. what: a table of export.TABLES, "costs" or "all" (JSON only); form: json or csv.

        Raises WrongInput for another word.
        """
        return exported(self, what, form)
