"""Where the content of a plan's inputs comes from: the checkout, or text rendered in memory."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import IO

from images.layers import names, tree
from images.layers.tar import Entry
from images.plan import Input
from profiles.errors import CheckFailed, WrongInput

RENDERED = "rendered:"


def rendered(name: str, target: str, text: str, mode: int = 0o644) -> Input:
    """The input for rendered `text`; name: the template's, unique per text. Raises WrongInput for a bad target."""
    data = text.encode()
    return Input(RENDERED + name, names.checked(target), hashlib.sha256(data).hexdigest(), len(data), mode)


class Sources:
    """Resolves Input.source. Builders and the secret scan read every file through here."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.texts: dict[str, bytes] = {}

    def render(self, name: str, target: str, text: str, mode: int = 0o644) -> Input:
        """`rendered`, with the text kept for `open`. Raises WrongInput when `name` already stands for another text."""
        if self.texts.setdefault(RENDERED + name, text.encode()) != text.encode():
            raise WrongInput(f"two different texts are rendered as {name!r}", "give each its own name")
        return rendered(name, target, text, mode)

    def open(self, one: Input) -> IO[bytes]:
        """The content of an input (of a link: its text). Raises CheckFailed when it has gone since the plan."""
        if one.link is not None:
            return io.BytesIO(one.link.encode())
        if one.source.startswith(RENDERED):
            try:
                return io.BytesIO(self.texts[one.source])
            except KeyError:
                raise CheckFailed(f"no text was rendered for {one.source}", "render the profile again") from None
        try:
            handle = os.open(tree.at(self.root, one.source), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            reason = (error.strerror or "unreadable").lower()
            raise CheckFailed(f"cannot read {one.source}: {reason}", "run the same command again") from None
        return os.fdopen(handle, "rb")

    def entry(self, one: Input) -> Entry:
        """The layer entry of an input."""
        if one.link is not None:
            return Entry(one.target, "symlink", link=one.link, source=one.source)
        content = partial(self.open, one)
        return Entry(one.target, "file", one.mode, one.size, content, sha256=one.sha256, source=one.source)

    def entries(self, inputs: Iterable[Input]) -> list[Entry]:
        return [self.entry(one) for one in inputs]
