"""Our tokenizers as a tokenizer.json that the library `tokenizers` runs: the same ids for the same text.

bytes         BPE without merges over GPT-2's characters for bytes
chars         WordLevel, one word per character; an unknown character is an error there too
gpt2, tiktoken  byte-level BPE; the merges are found again from the ranks
hf            the file itself, without the tokens that a post-processor would add: the model was not trained with them
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.after import chat
from trainer.data.tokenizers.gpt2 import printable

if TYPE_CHECKING:
    from trainer.data.tokenizer import Tokenizer

FILE = "tokenizer.json"
CONFIG = "tokenizer_config.json"
INTERVAL = re.compile(r"((?:\\[pP]\{\w+\}|\\.|\[(?:\\.|[^\]\\])*\]|[^\\\]\[(){}|?*+])\{\d*,?\d*\})\+")


def write(folder: Path, tokenizer: Tokenizer, context: int, chatty: bool) -> list[str]:
    """Writes both files; chatty: with the chat template of chat.py. The names of the files."""
    told, config = describe(tokenizer)
    end = end_text(tokenizer)
    config.update({"model_max_length": context, "clean_up_tokenization_spaces": False, "add_bos_token": False})
    config.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
    if end is not None:
        config["eos_token"] = end
    if chatty:
        frame = chat.template(tokenizer)
        config["chat_template"] = chat.hub_template(frame.end_text or end or "")
    for name, content in ((FILE, told), (CONFIG, config)):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return [FILE, CONFIG]


def describe(tokenizer: Tokenizer) -> tuple[dict[str, Any], dict[str, Any]]:
    """The contents of tokenizer.json and what is known for tokenizer_config.json."""
    one: Any = tokenizer
    if tokenizer.kind == "hf":
        beside = json.loads(one.files.get(CONFIG, b"{}"))
        # a class of its own would rebuild the pipeline from code; the fast class runs the file as it is
        kept = {key: value for key, value in beside.items() if key.endswith("_token") and isinstance(value, str)}
        return _bare(json.loads(one.files[FILE])), kept
    if tokenizer.kind == "chars":
        return _characters(one.alphabet), {}
    letters = {value: letter for letter, value in printable().items()}
    if tokenizer.kind == "bytes":
        model = _bpe({letters[value]: value for value in range(256)}, [])
        return _whole(model, _byte_level(None), {}), {}
    vocabulary = {_spelled(token, letters): rank for token, rank in one.ranks.items()}
    merges = [f"{_spelled(a, letters)} {_spelled(b, letters)}" for a, b in merges_of(one.ranks)]
    return _whole(_bpe(vocabulary, merges), _byte_level(one.pattern), one.specials), {}


def _bare(told: dict[str, Any]) -> dict[str, Any]:
    """Without a post-processor, unless it is ByteLevel's, which only moves offsets."""
    kind = (told.get("post_processor") or {}).get("type")
    return told if kind in (None, "ByteLevel") else {**told, "post_processor": None}


def end_text(tokenizer: Tokenizer) -> str | None:
    """The name of the end-of-text token where it is a special one."""
    specials: Mapping[str, int] = getattr(tokenizer, "specials", {})
    names = {one: name for name, one in specials.items()}
    for one, added in getattr(tokenizer, "added", {}).items():
        names[one] = added.content
    return names.get(tokenizer.eot) if tokenizer.eot is not None else None


def merges_of(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The pair that makes each token of several bytes, in the order of ranks.

    A token was made by merging two: BPE over its own bytes with the ranks below its own ends with just these.
    """
    pairs = []
    for token, rank in sorted(ranks.items(), key=lambda row: row[1]):
        if len(token) > 1:
            parts = _split(token, ranks, rank)
            if len(parts) == 2:  # others are only ever met whole (ignore_merges)
                pairs.append((parts[0], parts[1]))
    return pairs


def oniguruma(pattern: str) -> str:
    """A pattern of tiktoken for `tokenizers`, whose library reads x{1,3}+ as (x{1,3})+, not as possessive (Oniguruma
    doc/RE, "possessive": {n,m}+ is that in Java and Perl only): as an atomic group, which both read alike."""
    return INTERVAL.sub(r"(?>\1)", pattern)


def _split(token: bytes, ranks: Mapping[bytes, int], limit: int) -> list[bytes]:
    parts = [token[place : place + 1] for place in range(len(token))]
    while len(parts) > 1:
        found = [(ranks.get(parts[n] + parts[n + 1], limit), n) for n in range(len(parts) - 1)]
        rank, place = min(found)
        if rank >= limit:
            break
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts


def _spelled(token: bytes, letters: Mapping[int, str]) -> str:
    return "".join(letters[value] for value in token)


def _bpe(vocabulary: Mapping[str, int], merges: list[str]) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": True,  # as tiktoken: a piece that is a token is that token
        "vocab": dict(vocabulary),
        "merges": merges,
    }


def _byte_level(pattern: str | None) -> dict[str, Any]:
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    if pattern is None:
        return level
    cut = {"type": "Split", "pattern": {"Regex": oniguruma(pattern)}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [cut, level]}


def _characters(alphabet: str) -> dict[str, Any]:
    model = {"type": "WordLevel", "vocab": {one: place for place, one in enumerate(alphabet)}, "unk_token": "\ue000unk"}
    cut = {"type": "Split", "pattern": {"Regex": r"[\s\S]"}, "behavior": "Isolated", "invert": False}
    return {**_whole(model, cut, {}), "decoder": {"type": "Fuse"}}


def _whole(model: dict[str, Any], cut: dict[str, Any], specials: Mapping[str, int]) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": one, "content": name, **flags} for name, one in sorted(specials.items(), key=lambda row: row[1])]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": cut,
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        "model": model,
    }
