"""Generates text: logits to a token, tokens through the key-value cache, tokens to text as they come."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainer import config
from trainer.errors import TrainerError
from trainer.model.cache import KVCache
from trainer.model.gpt import GPT

if TYPE_CHECKING:
    from trainer.data.tokenizer import Tokenizer

TORN = "\ufffd"


@dataclass(frozen=True)
class Settings:
    """tokens: new ones at most; temperature 0: always the likeliest; top_k 0 and top_p 1: all tokens may come."""

    tokens: int = 100
    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def check(self) -> None:
        """Raises TrainerError for a value that means nothing."""
        if self.tokens < 1:
            raise TrainerError(f"--tokens is {self.tokens}", "give at least 1")
        if not 0.0 <= self.temperature < float("inf"):
            raise TrainerError(f"--temperature is {self.temperature}", "give 0 (the likeliest token) or more")
        if self.top_k < 0:
            raise TrainerError(f"--top-k is {self.top_k}", "give 1 or more, or 0 for all tokens")
        if not 0.0 < self.top_p <= 1.0:
            raise TrainerError(f"--top-p is {self.top_p}", "give more than 0 and at most 1")


def pick(logits: Tensor, settings: Settings, generator: torch.Generator) -> int:
    """One token from logits (vocab,), fp32 on the CPU, so that the same seed gives the same text on every device.

    Of equal logits the lowest id wins. top_p keeps the likeliest tokens until their probabilities reach it (Holtzman et
    al. 2020, arXiv:1904.09751); it is applied to what top_k left.
    """
    if settings.temperature == 0.0:
        return int(logits.argmax())
    scaled = logits / settings.temperature
    if 0 < settings.top_k < scaled.numel():
        values, ids = torch.topk(scaled, settings.top_k)
    else:
        values, ids = torch.sort(scaled, descending=True, stable=True)
    chances = torch.softmax(values, dim=-1)
    if settings.top_p < 1.0:
        before = torch.cumsum(chances, dim=-1) - chances
        chances = chances * (before < settings.top_p)
    return int(ids[torch.multinomial(chances, 1, generator=generator)])


def fitted(prompt: Sequence[int], context: int, tokens: int) -> list[int]:
    """The prompt, or, when it is longer than the context, its end, with room for the new tokens or half the context."""
    if len(prompt) <= context:
        return list(prompt)
    return list(prompt[-max(1, context // 2, context - tokens) :])


def generate(
    model: GPT, shape: config.Model, prompt: Sequence[int], settings: Settings, samples: int = 1, known: int = 0
) -> Iterator[list[int]]:
    """The next token of each sample, again and again, settings.tokens times. prompt: at least one id.

    Sample i of a seed is sample 0 of seed + i, whatever their number. known: ids from here on are padding and never
    come; 0: all are known. When the context is full, the last half of it is read again and generation goes on.
    """
    device = model.tokens.weight.device
    rows = [fitted(prompt, shape.context, settings.tokens) for _ in range(samples)]
    generators = [torch.Generator().manual_seed(settings.seed + number) for number in range(samples)]
    cache = KVCache(shape, samples, device, model.tokens.weight.dtype)
    new = torch.tensor(rows, dtype=torch.int64, device=device)
    for _ in range(settings.tokens):
        if cache.length + new.shape[1] > shape.context:
            cache.rewind()
            new = torch.tensor([row[-max(1, shape.context // 2) :] for row in rows], device=device)
        with torch.no_grad():  # not around the yield: the caller's own gradients are its business
            logits = model(new, cache=cache, last_only=True)[:, -1].float().cpu()
        if known:
            logits = logits[:, :known]
        chosen = [pick(row, settings, generator) for row, generator in zip(logits, generators, strict=True)]
        for row, token in zip(rows, chosen, strict=True):
            row.append(token)
        new = torch.tensor(chosen, dtype=torch.int64, device=device)[:, None]
        yield chosen


@dataclass
class Text:
    """Tokens of one sample to text, as they come; ends before the first stop. ids: those taken, the stopping one not.

    stop_ids: sequences of ids (end-of-text, the chat template's end); stops: texts. why: "", "end", "stop", "length".
    """

    tokenizer: Tokenizer
    stop_ids: Sequence[Sequence[int]] = ()
    stops: Sequence[str] = ()
    ids: list[int] = field(default_factory=list)
    text: str = ""
    why: str = ""
    _shown: int = 0  # characters of text that were given out
    _from: int = 0  # ids[_from:] are decoded together: some decoders need the token before
    _done: int = 0  # ids[:_done] are in text

    def add(self, token: int) -> str:
        """Takes the next token; the text that is certain now. Nothing is added once it has ended."""
        if self.why:
            return ""
        self.ids.append(token)
        for stop in self.stop_ids:
            if stop and self.ids[-len(stop) :] == list(stop):
                del self.ids[-len(stop) :]
                return self._ended("end")
        self._decode(False)
        found = [place for place in (self.text.find(stop) for stop in self.stops if stop) if place >= 0]
        if found:
            self.text = self.text[: min(found)]
            return self._ended("stop")
        return self._give(len(self.text) - self._held())

    def finish(self) -> str:
        """The rest of the text, when no more tokens come."""
        return "" if self.why else self._ended("length")

    def _ended(self, why: str) -> str:
        self.why = why
        if why == "stop":
            return self._give(len(self.text))
        if self._done > len(self.ids):  # letters of a textual end were decoded already
            self.text, self._from, self._done = "", 0, 0
        self._decode(True)
        return self._give(len(self.text))

    def _decode(self, last: bool) -> None:
        if self._done >= len(self.ids):
            return
        before = self.tokenizer.decode(self.ids[self._from : self._done])
        whole = self.tokenizer.decode(self.ids[self._from :])
        if whole.endswith(TORN) and not last and len(self.ids) - self._done < 8:
            return  # a character whose bytes are not all there
        self.text += whole[len(before) :]
        self._from, self._done = self._done, len(self.ids)

    def _held(self) -> int:
        """Characters at the end that may become a stop or part of an end that is spelled in letters."""
        ends = [*self.stops, *(self.tokenizer.decode(list(stop)) for stop in self.stop_ids if len(stop) > 1)]
        longest = 0
        for end in ends:
            for size in range(min(len(end), len(self.text)), longest, -1):
                if self.text.endswith(end[:size]):
                    longest = size
                    break
        return longest

    def _give(self, upto: int) -> str:
        piece = self.text[self._shown : upto]
        self._shown = max(self._shown, upto)
        return piece


def unescaped(text: str) -> str:
    r"""\n, \t and their like in a flag of the command line."""
    return codecs.decode(text.encode("latin-1", "backslashreplace"), "unicode_escape") if "\\" in text else text
