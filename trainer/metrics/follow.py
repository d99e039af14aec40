"""Reads a file of JSON lines that is still being written, only ever what is new."""

from __future__ import annotations

from pathlib import Path

from trainer.metrics.log import Record, parse


class NewLines:
    """The lines since the last look. A file that became shorter (a torn tail was cut) is gone on with from its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place = 0

    def read(self) -> list[Record]:
        """Whole new lines, oldest first; what is half written waits for the next look. Empty without a file."""
        try:
            with self._path.open("rb") as stream:
                self._place = min(self._place, stream.seek(0, 2))
                stream.seek(self._place)
                content = stream.read()
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._place += len(whole)
        return parse(whole)
