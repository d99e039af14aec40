"""Characters as tokens: an alphabet, sorted by code point; the id of a character is its place in it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data import tokenizer
from trainer.data.tokenizer import Ids
from trainer.errors import TrainerError

FILE = "alphabet.json"
CODE_POINTS = 0x110000


class Characters:
    """alphabet: each character once, in any order; ids follow the sorted one. No end-of-text unless one is chosen."""

    kind = "chars"

    def __init__(self, alphabet: str, eot: int | None = None) -> None:
        self.alphabet = "".join(sorted(set(alphabet)))
        if not self.alphabet:
            raise TrainerError("the alphabet is empty", "give a corpus or a file with characters")
        self.vocab = len(self.alphabet)
        self.name = f"chars-{self.vocab}-{hashlib.sha256(self.alphabet.encode()).hexdigest()[:8]}"
        self.eot = eot
        self._ids = np.full(CODE_POINTS, -1, dtype=np.int32)
        self._ids[code_points(self.alphabet)] = np.arange(self.vocab, dtype=np.int32)

    def encode(self, text: str) -> list[int]:
        """One id per character. Raises TrainerError naming the first character that is not in the alphabet."""
        return [int(one) for one in self._encode(text)]

    def encode_batch(self, texts: list[str]) -> list[Ids]:
        """One id per character, uint32."""
        return [self._encode(text) for text in texts]

    def decode(self, ids: list[int]) -> str:
        """One character per id."""
        return "".join(self.alphabet[one] if 0 <= one < self.vocab else "\ufffd" for one in ids)

    def token_bytes(self) -> NDArray[np.uint16]:
        """The length of each character in UTF-8: 1 to 4."""
        return np.array([len(one.encode()) for one in self.alphabet], dtype=np.uint16)

    def save(self, folder: Path) -> list[str]:
        """The alphabet as a JSON string."""
        return tokenizer.describe(folder, self, {FILE: json.dumps(self.alphabet).encode()}, {})

    def _encode(self, text: str) -> Ids:
        ids = self._ids[code_points(text)]
        if ids.size and int(ids.min()) < 0:
            at = int(np.argmax(ids < 0))
            what = f"the character {text[at]!r} (U+{ord(text[at]):04X}) at offset {at} is not in the alphabet"
            raise TrainerError(what, f"the alphabet has {self.vocab} characters; take the corpus's own with `chars`")
        return ids.astype(np.uint32)


def code_points(text: str) -> NDArray[np.uint32]:
    """Of each character. A table look-up on these is 50 times faster than a dictionary."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def collect(texts: list[str]) -> str:
    """The characters that occur, sorted."""
    seen = np.zeros(CODE_POINTS, dtype=bool)
    for text in texts:
        seen[code_points(text)] = True
    return "".join(map(chr, np.flatnonzero(seen)))


def from_file(path: Path) -> Characters:
    """The characters of a UTF-8 text file; a single newline at its very end is an editor's and does not count.

    An alphabet with a newline in it has one elsewhere too, or is a JSON string in a .json file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        alphabet = json.loads(text) if path.suffix == ".json" else text.removesuffix("\n")
    except (OSError, ValueError) as error:
        raise TrainerError(f"cannot read the alphabet {path}: {error}", "give a UTF-8 text file") from None
    if not isinstance(alphabet, str):
        raise TrainerError(f"the alphabet {path} is no JSON string", 'write it as "abc\\n"')
    return Characters(alphabet)


def loaded(told: dict[str, Any], contents: dict[str, bytes]) -> Characters:
    """From what `save` wrote."""
    return Characters(json.loads(contents[FILE]), told["eot"])
