"""A Hugging Face tokenizer.json: any model that the library `tokenizers` runs, SuperBPE's 200k vocabularies too."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data import tokenizer
from trainer.data.optional import need
from trainer.data.tokenizer import Ids
from trainer.data.tokenizers.gpt2 import printable
from trainer.errors import OUTSIDE_FAILED, TrainerError

FILE = "tokenizer.json"
BESIDE = ("tokenizer_config.json", "special_tokens_map.json")  # say which special token ends a text
ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eot|>", "[EOS]", "<end_of_text>", "<|endofdocument|>")
BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")  # a single byte in SentencePiece vocabularies with byte_fallback


class HuggingFace:
    """files: tokenizer.json's content and, where there are, those of BESIDE. Special tokens in a text stay text."""

    kind = "hf"

    def __init__(self, name: str, files: dict[str, bytes], eot: int | None = None) -> None:
        tokenizers = need("tokenizers", "tokenizers", f"the tokenizer {name}")
        self.name, self.files = name, files
        try:
            self.model = tokenizers.Tokenizer.from_str(files[FILE].decode())
        except Exception as error:  # the library raises a bare Exception for a file it cannot read
            raise TrainerError(
                f"{name} is no tokenizer.json: {error}", "give the file that `tokenizers` saved"
            ) from None
        self.model.encode_special_tokens = True  # a "<|endoftext|>" in a text is its letters
        self.model.no_truncation()
        self.model.no_padding()
        self.added: dict[int, Any] = dict(self.model.get_added_tokens_decoder())
        self.vocab = max(self.model.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        self.eot = self._end() if eot is None else eot
        self._batch = getattr(self.model, "encode_batch_fast", self.model.encode_batch)  # without offsets: from 0.20

    def encode(self, text: str) -> list[int]:
        """Without the special tokens that a post-processor would add."""
        ids: list[int] = self.model.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: list[str]) -> list[Ids]:
        """uint32; on all cores, unless TOKENIZERS_PARALLELISM=false or RAYON_NUM_THREADS says otherwise."""
        found = self._batch(texts, add_special_tokens=False)
        return [np.array(one.ids, dtype=np.uint32) for one in found]

    def decode(self, ids: list[int]) -> str:
        """Special tokens by their names; unknown ids as U+FFFD."""
        known = [one for one in ids if self.model.id_to_token(one) is not None]
        text: str = self.model.decode(known, skip_special_tokens=False)
        return text + "\ufffd" * (len(ids) - len(known))

    def token_bytes(self) -> NDArray[np.uint16]:
        """Exact for byte-level BPE that changes nothing in the text; for others the bytes of the decoded token."""
        lengths = np.zeros(self.vocab, dtype=np.uint16)
        bytewise = self.byte_level()
        for token, one in self.model.get_vocab(with_added_tokens=True).items():
            added = self.added.get(one)
            if added is not None:
                lengths[one] = 0 if added.special else len(added.content.encode())
            elif bytewise:
                lengths[one] = len(token)  # each character of it stands for one byte
            else:
                lengths[one] = _length(token)
        return lengths

    def save(self, folder: Path) -> list[str]:
        """The files as they were: transformers reads them too."""
        return tokenizer.describe(folder, self, self.files, {})

    def special(self, text: str) -> int | None:
        """The id of an added token."""
        return next((one for one, added in self.added.items() if added.content == text), None)

    def byte_level(self) -> bool:
        """Whether tokens are written in GPT-2's characters for bytes."""
        told = json.loads(self.files[FILE])
        steps = [told.get("pre_tokenizer"), told.get("decoder"), told.get("normalizer")]
        if any(step and "ByteLevel" in json.dumps(step) for step in steps):
            alphabet = printable()
            return all(set(token) <= alphabet.keys() for token in self.model.get_vocab(with_added_tokens=False))
        return False

    def _end(self) -> int | None:
        for name in BESIDE:
            told = json.loads(self.files.get(name, b"{}")).get("eos_token")
            text = told.get("content") if isinstance(told, dict) else told
            found = self.special(text) if isinstance(text, str) else None
            if found is not None:
                return found
        contents = {added.content: one for one, added in self.added.items() if added.special}
        return next((contents[end] for end in ENDS if end in contents), None)


def named(place: str) -> HuggingFace:
    """From a file, a folder, or a repository of the Hub (its cache, else the network; HF_TOKEN is used if set)."""
    path = Path(place)
    if path.is_dir():
        path = path / FILE
    if path.is_file():
        beside = [path.parent / name for name in BESIDE]
        return HuggingFace(path.parent.name, {FILE: path.read_bytes(), **_contents(beside)})
    if path.suffix == ".json" or place.startswith(("/", "./", "../", "~")) or place.count("/") > 1:
        raise TrainerError(f"there is no {path}", "give hf: a tokenizer.json, its folder, or OWNER/REPO of the Hub")
    return HuggingFace(place, _fetched(place))


def loaded(told: dict[str, Any], contents: dict[str, bytes]) -> HuggingFace:
    """From what `save` wrote."""
    return HuggingFace(told["name"], contents, told["eot"])


def _fetched(repo: str) -> dict[str, bytes]:
    hub = need("huggingface_hub", "huggingface_hub", f"the tokenizer of {repo}")
    token = os.environ.get("HF_TOKEN") or None
    files = {}
    for name in (FILE, *BESIDE):
        try:
            files[name] = Path(hub.hf_hub_download(repo, name, token=token)).read_bytes()
        except Exception as error:  # the hub's own, by network and version
            if name == FILE:
                what = f"cannot get {name} of {repo} ({type(error).__name__}: not in the cache, or no network)"
                hint = "give a local hf:PATH; for a closed repository set HF_TOKEN"
                raise TrainerError(what, hint, OUTSIDE_FAILED) from None
    return files


def _contents(paths: list[Path]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def _length(token: str) -> int:
    """UTF-8 bytes of a token of SentencePiece (a lower one eighth block is a space) or WordPiece (## joins)."""
    if BYTE.fullmatch(token):
        return 1
    return len(token.replace("\u2581", " ").removeprefix("##").encode())
