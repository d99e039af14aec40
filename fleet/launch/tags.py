"""Tags, for those who launch; they stand in the ledger's room because it reads them too."""

from __future__ import annotations

from fleet.ledger.tags import Tag, fresh, read

__all__ = ["Tag", "fresh", "read"]
