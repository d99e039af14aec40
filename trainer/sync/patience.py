"""How long to wait before the next try, and a loop that tries again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from trainer.stores.store import StoreError

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Patience:
    """tries: failures in a row until it gives up. The pause doubles from `first` to `most` seconds; after an error
    that another try cannot mend by itself (a bad token, a full quota) it is `slow`."""

    tries: int = 5
    first: float = 1.0
    most: float = 120.0
    slow: float = 300.0

    def pause(self, failed: int, transient: bool = True, after: float | None = None) -> float:
        """Seconds to wait after the failure number `failed`, from 1, at least what the server asked for.

        Between half and one and a half of the doubled pause, so that many machines that failed together do not come
        back together.
        """
        doubled = min(self.most, self.first * 2.0 ** min(failed - 1, 30)) if transient else self.slow
        return max(after or 0.0, doubled * random.uniform(0.5, 1.5))


def patiently(
    what: str,
    act: Callable[[], Answer],
    patience: Patience,
    say: Callable[[str], None],
    progress: Callable[[], int] = lambda: 0,
    sleep: Callable[[float], object] = time.sleep,
) -> Answer:
    """`act()`, again after transient StoreErrors.

    progress: a number that grows while something arrives: then the counting of failures begins anew. Raises the last
    StoreError after patience.tries failures in a row, and at once one that is not transient.
    """
    failed, before = 0, progress()
    while True:
        try:
            return act()
        except StoreError as error:
            if not error.transient:
                raise
            failed = 1 if progress() > before else failed + 1
            before = progress()
            if failed >= patience.tries:
                raise
            pause = patience.pause(failed, after=error.after)
            say(f"{what}: {error.what}; try {failed + 1} of {patience.tries} in {pause:.0f} s")
            sleep(pause)
