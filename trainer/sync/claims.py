"""What this machine remembers of its own sending, beside the run: only ever a hint to skip what is there already."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from trainer.checkpoint.folder import replace


def tag(url: str) -> str:
    """Eight hex digits for a store, for the names of files."""
    return hashlib.sha256(url.encode()).hexdigest()[:8]


class Claims:
    """RUN/.sync-TAG.json.

    A checkpoint is claimed (by its manifest's hash) after all foreign files were removed from its remote folder and
    before the first file of it is sent. So a file there with the right size, under the claim of the same manifest, was
    sent whole by us: a store never shows a part under a final name. Without the claim, a file of the right size may be
    of another attempt at the same step, whose tensors have the same shapes and other values.
    """

    def __init__(self, run: Path, url: str) -> None:
        self.path = run / f".sync-{tag(url)}.json"
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            self._claims = {str(name): str(sha256) for name, sha256 in content["claims"].items()}
            self._files = {str(name): str(sha256) for name, sha256 in content["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._claims, self._files = {}, {}

    def claimed(self, name: str, sha256: str) -> bool:
        """Whether what lies in the checkpoint's remote folder is of this manifest."""
        return self._claims.get(name) == sha256

    def claim(self, name: str, sha256: str) -> None:
        """Its remote folder is empty now. On the disk before this returns."""
        self._claims[name] = sha256
        self._write()

    def forget(self, name: str) -> None:
        """Its remote folder is whole, or gone."""
        if self._claims.pop(name, None) is not None:
            self._write()

    def sent(self, name: str) -> str | None:
        """The sha256 of the run file that we sent last under this name."""
        return self._files.get(name)

    def sending(self, names: list[str]) -> None:
        """These run files are about to be replaced: until it is known how that ended, they are nothing's."""
        if any(self._files.pop(name, None) is not None for name in list(names)):
            self._write()

    def arrived(self, files: dict[str, str]) -> None:
        """These are there, by name and sha256."""
        if files:
            self._files.update(files)
            self._write()

    def _write(self) -> None:
        content = {"claims": self._claims, "files": self._files}
        try:
            replace(self.path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())
        except OSError:  # a full disk is no reason not to send; without the file everything is sent again
            self.path.unlink(missing_ok=True)
