"""A pull in a process of its own: what is stuck is ended, and goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer.errors import TrainerError
from trainer.stores.open import open_store
from trainer.stores.store import Store
from trainer.sync.attend import Voice, attended
from trainer.sync.pace import Pace
from trainer.sync.patience import Patience
from trainer.sync.pull import pull


def fetched(
    url: str,
    run: Path,
    asked: Mapping[str, Any],
    rate: float,
    stall: float,
    heard: Callable[[dict[str, Any]], None],
    say: Callable[[str], None],
    patience: Patience | None = None,
    opened: Callable[[str], Store] = open_store,
) -> dict[str, Any]:
    """pull(store, run, **asked), as Pulled.to_json() tells it. For a process without threads of its own.

    asked: which, only and force; rate: bytes per second, 0 for no limit; stall: seconds without a byte until the
    transfer is ended and goes on anew; heard, say: its news and its lines for people. Raises pull's errors.
    """
    patience = patience or Patience()

    def act(voice: Voice) -> Any:
        store = opened(url)

        def total(count: int) -> None:
            voice.tell(expect=count)

        try:
            pace = Pace(rate, voice.moved)
            return pull(store, run, say=voice.say, moved=pace, patience=patience, total=total, **asked).to_json()
        finally:
            store.close()

    failed = 0

    def both(news: dict[str, Any]) -> None:
        nonlocal failed
        failed = 0 if news.get("moved") else failed
        heard(news)
        if news.get("say", "").startswith("WARNING"):
            say(news["say"])

    while (ended := attended(act, stall, both)).what is not None:
        failed += 1
        if not ended.broken or failed >= patience.tries:  # pull itself was patient with the others
            raise TrainerError(ended.what, ended.next_step, ended.exit_code)
        pause = patience.pause(failed, after=ended.after)
        say(f"{ended.what}; again in {pause:.0f} s")
        time.sleep(pause)
    return dict(ended.value)
