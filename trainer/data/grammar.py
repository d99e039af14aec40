"""Writes `tales.txt`, the text baked into the image: small tales from a small grammar. It is ours and needs no network.

`python -m trainer.data.grammar > trainer/data/tales.txt` makes the same bytes on every machine: only random.random()
is used, whose sequence for a seed Python promises to keep (docs, "Notes on Reproducibility").
"""

from __future__ import annotations

import random
import sys

SIZE = 65536  # bytes
SEED = 1804  # Trevithick's first locomotive

WORDS = {
    "who": "the stoker|the driver|the guard|an old smith|a porter|the signalman|the miller|a fox|the cook|my aunt",
    "thing": "engine|boiler|lamp|kettle|bridge|whistle|barrow|furnace|wheel|ledger|gate|bell|ladder|rope",
    "quality": "cold|bright|heavy|quiet|rusty|patient|narrow|warm|crooked|honest|little|black|golden",
    "place": "by the river|under the hill|behind the shed|at the crossing|in the yard|near the mill|along the line",
    "time": "In the morning|At noon|Before the rain|After supper|On the third day|When the wind turned|Late that night",
    "did": "mended|carried|counted|polished|watched|lifted|followed|forgot|found|painted|warmed|sold",
    "moved": "walked|ran|waited|sang|slept|laughed|worked|stood|listened|whistled",
    "how": "slowly|without a word|as before|all day long|with great care|for nothing|twice|once more|until dark",
    "said": "said|asked|answered|whispered|shouted|thought",
}
SENTENCES = (
    "{time} {who} {did} the {quality} {thing} {place}.",
    "{who} {moved} {how}.",
    "{who} {did} the {thing}, and {who} {did} the {quality} {thing}.",
    "The {thing} was {quality}, so {who} {moved} {place}.",
    '"Who {did} the {thing}?" {said} {who}.',
    '"It is only a {quality} {thing}," {said} {who}, and {moved} {how}.',
    "{time} the {thing} stood {place}, {quality} and {quality}.",
    "If the {thing} is {quality}, {who} said, then the {thing} must be {quality} too.",
    "There were {number} of them {place}, and {who} {did} each {thing} {how}.",
)


def text(size: int = SIZE, seed: int = SEED) -> str:
    """Tales of exactly `size` bytes, ASCII, ending in a newline."""
    draw = random.Random(seed)
    parts: list[str] = []
    length = 0
    while length < size:
        tale = " ".join(_sentence(draw) for _ in range(3 + _below(draw, 6))) + "\n\n"
        parts.append(tale)
        length += len(tale)
    return "".join(parts)[: size - 1] + "\n"


def _sentence(draw: random.Random) -> str:
    pattern = SENTENCES[_below(draw, len(SENTENCES))]
    pieces = pattern.replace("}", "{").split("{")  # odd pieces are names of slots
    for index in range(1, len(pieces), 2):
        pieces[index] = _word(draw, pieces[index])
    line = "".join(pieces)
    return line[0].upper() + line[1:]


def _word(draw: random.Random, slot: str) -> str:
    if slot == "number":
        return str(2 + _below(draw, 97))
    choices = WORDS[slot].split("|")
    return choices[_below(draw, len(choices))]


def _below(draw: random.Random, limit: int) -> int:
    return int(draw.random() * limit)


if __name__ == "__main__":
    sys.stdout.write(text())
