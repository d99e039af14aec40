"""A preparation that ends early on purpose: after so many documents or tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.documents import Encoded


@dataclass(frozen=True)
class Limits:
    """0: no limit. The last document is cut where the tokens end."""

    documents: int = 0
    tokens: int = 0

    def reached(self, documents: int, tokens: int) -> bool:
        """Whether nothing more is wanted."""
        return 0 < self.documents <= documents or 0 < self.tokens <= tokens


def clip(
    found: Encoded, limits: Limits, documents: int, tokens: int, lengths: NDArray[np.uint16]
) -> tuple[Encoded, bool]:
    """The block without what lies beyond the limits, and whether they end here. documents, tokens: before this block;
    a part that goes on with the last of those documents still belongs to it."""
    rows, kept = found.lengths.size, int(found.tokens.size)
    if limits.documents:
        begun = np.cumsum(found.begins)
        rows = int((begun <= limits.documents - documents).sum())
        kept = int(found.lengths[:rows].sum())
    if limits.tokens and kept > limits.tokens - tokens:
        kept = limits.tokens - tokens
        rows = int(np.searchsorted(np.cumsum(found.lengths[:rows]), kept)) + 1
    if rows == found.lengths.size and kept == found.tokens.size:
        return found, bool(limits.tokens) and tokens + kept >= limits.tokens
    return _first(found, rows, kept, lengths), True


def _first(found: Encoded, rows: int, kept: int, lengths: NDArray[np.uint16]) -> Encoded:
    parts, sizes, ends = found.lengths[:rows].copy(), found.sizes[:rows].copy(), found.ends[:rows].copy()
    beyond = int(parts.sum()) - kept
    if beyond:
        parts[-1] -= beyond
        sizes[-1] = min(int(sizes[-1]), int(lengths[found.tokens[kept - int(parts[-1]) : kept]].sum(dtype=np.int64)))
        ends[-1] = True
    tokens = found.tokens[:kept]
    counted = int(lengths[tokens].sum(dtype=np.int64))
    return Encoded(
        tokens, parts, sizes, found.begins[:rows], ends, found.held_out[:rows], counted, found.skipped, found.said
    )
