"""Bytes as tokens: the UTF-8 bytes of a text, 256 values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.data import tokenizer
from trainer.data.tokenizer import Ids


class Bytes:
    """Every text has its tokens; no end-of-text unless one is chosen."""

    kind = "bytes"
    name = "bytes"
    vocab = 256

    def __init__(self, eot: int | None = None) -> None:
        self.eot = eot

    def encode(self, text: str) -> list[int]:
        """One id per byte."""
        return list(text.encode())

    def encode_batch(self, texts: list[str]) -> list[Ids]:
        """One id per byte, uint8."""
        return [np.frombuffer(text.encode(), dtype=np.uint8) for text in texts]

    def decode(self, ids: list[int]) -> str:
        """Bytes that are no UTF-8 become U+FFFD."""
        return b"".join(bytes([one]) if 0 <= one < 256 else b"\xff" for one in ids).decode(errors="replace")

    def token_bytes(self) -> NDArray[np.uint16]:
        """One each."""
        return np.ones(256, dtype=np.uint16)

    def save(self, folder: Path) -> list[str]:
        """The description is all."""
        return tokenizer.describe(folder, self, {}, {})
