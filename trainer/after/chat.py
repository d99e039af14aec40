"""Conversations as tokens: one template, and which of its tokens are learned.

    <|system|>\\n CONTENT END  <|user|>\\n CONTENT END  <|assistant|>\\n CONTENT END

A role marker is one token where the tokenizer has a special token of that name, and else its letters. END is the
special token <|end|> where there is one, else the tokenizer's end-of-text, else the letters "<|end|>". Contents are
stripped of white space at both ends and are never read as special tokens; so only where markers and END are plain
letters can a content forge a turn. Every piece is tokenized by itself: which tokens are the assistant's is exact. The
loss counts the tokens of each assistant content and its END, nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.data.tokenizer import Tokenizer

ROLES = ("system", "user", "assistant")
END = "<|end|>"
NEWLINE = "\n"


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; role: one of ROLES."""

    role: str
    content: str


@dataclass(frozen=True)
class Template:
    """The ids around a content. openings: by role, the marker and its newline; end: one id, or the letters of END."""

    openings: dict[str, list[int]]
    end: list[int]
    end_text: str  # what `end` decodes to in an export's chat template
    special: bool  # END is no plain letters: no content can forge a turn

    @property
    def stops(self) -> list[list[int]]:
        """Where the assistant's answer is over."""
        return [self.end]


def marker(role: str) -> str:
    """The text of a role's marker."""
    return f"<|{role}|>"


def template(tokenizer: Tokenizer) -> Template:
    """The template in a tokenizer's ids. Raises TrainerError when its alphabet lacks a character of the markers."""
    openings = {}
    for role in ROLES:
        one = special_id(tokenizer, marker(role))
        openings[role] = (
            [one, *tokenizer.encode(NEWLINE)] if one is not None else tokenizer.encode(marker(role) + NEWLINE)
        )
    one, end_text = special_id(tokenizer, END), END
    if one is None and tokenizer.eot is not None:
        one, end_text = tokenizer.eot, ""
    end = [one] if one is not None else tokenizer.encode(END)
    return Template(openings, end, end_text, one is not None)


def special_id(tokenizer: Tokenizer, text: str) -> int | None:
    """The id of a special token with this name, where the kind of tokenizer has any."""
    find = getattr(tokenizer, "special", None)
    found = find(text) if find else None
    return int(found) if found is not None else None


def encode(messages: Sequence[Message], tokenizer: Tokenizer, frame: Template) -> tuple[list[int], list[bool]]:
    """Ids of a conversation, and for each whether the loss counts it as a target."""
    ids: list[int] = []
    learned: list[bool] = []
    for message in messages:
        opening = frame.openings[message.role]
        body = [*tokenizer.encode(message.content.strip()), *frame.end]
        ids += [*opening, *body]
        learned += [False] * len(opening) + [message.role == "assistant"] * len(body)
    return ids, learned


def prompt(messages: Sequence[Message], tokenizer: Tokenizer, frame: Template) -> list[int]:
    """Ids of a conversation that the assistant is to continue: up to its opening."""
    return [*encode(messages, tokenizer, frame)[0], *frame.openings["assistant"]]


def hub_template(end: str) -> str:
    """The same as Jinja for tokenizer_config.json; end: the text of the END token."""
    quoted = end.replace("\\", "\\\\").replace("'", "\\'")
    return (
        "{% for message in messages %}"
        "{{ '<|' + message['role'] + '|>\n' + message['content'] | trim + '" + quoted + "' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    )


def facts(frame: Template, loss: str = "assistant content and end") -> dict[str, Any]:
    """What an SFT run notes of its template."""
    return {
        "template": "stoker-1",
        "openings": frame.openings,
        "end": frame.end,
        "special": frame.special,
        "loss": loss,
    }
