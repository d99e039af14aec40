"""The folder of a preparation: whose it is, whether it is finished, and what of it may be overwritten."""

from __future__ import annotations

import re
from pathlib import Path

from trainer.data import index as indexes
from trainer.data.index import Index
from trainer.data.journal import NAME as JOURNAL
from trainer.data.journal import Entry, Journal
from trainer.data.lock import Lock
from trainer.data.streams import SPOOL
from trainer.data.tokenizer import DESCRIPTION, saved_files
from trainer.errors import OUTSIDE_FAILED, REFUSED, TrainerError

LOCK = ".prepare.lock"
TOKEN_BYTES = "token_bytes.bin"
OURS = re.compile(r"\.?(train|val)-\d{5,}\.bin(\.partial)?")
WHOLE = re.compile(r"(train|val)-\d{5,}\.bin")  # what is worth keeping of a preparation that failed


class Claim:
    """Holds the folder while it is prepared. fingerprint: of sources, tokenizer and options; about: the same with the
    sources' times, for a journal. force: what another preparation left there may go.

    finished: the index, if just this was prepared there before. entries: of an interrupted one.
    Raises TrainerError when the folder is another's.
    """

    def __init__(self, folder: Path, fingerprint: str, about: str, force: bool) -> None:
        self.folder, self.journal = folder, Journal(folder, about)
        self.finished: Index | None = None
        self.entries: list[Entry] = []
        self.resumed = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(folder / LOCK)
            taken = self._lock.take(shared=False)
        except OSError as error:
            what = f"cannot write into {folder}: {error.strerror}"
            raise TrainerError(what, "choose another --out", OUTSIDE_FAILED) from None
        if not taken:
            raise TrainerError(f"another `data prepare` is writing {folder}", "wait for it", REFUSED)
        try:
            self._look(fingerprint, force)
        except BaseException:
            self.release((folder / indexes.NAME).exists())
            raise

    def release(self, finished: bool) -> None:
        """finished: nothing of the way there stays."""
        if finished:
            self.journal.remove()
            (self.folder / SPOOL).unlink(missing_ok=True)
            (self.folder / LOCK).unlink(missing_ok=True)
        self._lock.release()

    def _look(self, fingerprint: str, force: bool) -> None:
        if not force and (self.folder / indexes.NAME).exists():
            found = indexes.read(self.folder)
            if found.source.get("fingerprint") != fingerprint:
                what = f"{self.folder} holds data prepared from other sources or with other options"
                raise TrainerError(what, "choose another --out, or --force to replace it", REFUSED)
            self.finished = found
            return
        entries = self.journal.read() if self.journal.exists() and not force else None
        if entries is not None:
            self.entries, self.resumed = entries, True
            return
        left = [one.name for one in self.folder.iterdir() if OURS.fullmatch(one.name) or one.name == DESCRIPTION]
        nothing = self.journal.exists() and not any(WHOLE.fullmatch(name) for name in left)
        if (left or self.journal.exists()) and not nothing and not force:
            what = f"{self.folder} holds an unfinished preparation of other sources or with other options"
            raise TrainerError(what, "give the same command to go on, another --out, or --force", REFUSED)
        self._clear()
        self.journal.begin([])

    def _clear(self) -> None:
        """The index first: what is half gone must not look finished."""
        for name in (indexes.NAME, JOURNAL, SPOOL, TOKEN_BYTES, *saved_files(self.folder)):
            if name == Path(name).name:
                (self.folder / name).unlink(missing_ok=True)
        for path in self.folder.iterdir():
            if OURS.fullmatch(path.name):
                path.unlink()
