"""Reads chat JSONL: one {"messages": [{"role": ..., "content": ...}, ...]} a line. Every bad line is named."""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Any

from trainer.after.chat import ROLES, Message
from trainer.errors import TrainerError

KEYS = ("messages",)
MESSAGE_KEYS = ("role", "content")
FORM = 'a line is {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}'
SHOWN = 5  # bad lines told at once


def read(path: Path) -> tuple[list[list[Message]], str]:
    """The conversations of a file and its sha256. Raises TrainerError with the first bad lines, FILE:LINE each."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainerError(f"cannot read {path}: {error.strerror}", "give --data a chat JSONL file") from None
    found, wrong = [], []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            found.append(parse(line))
        except ValueError as error:
            wrong.append(f"{path}:{number}: {error}")
    if wrong:
        more = f" (and {len(wrong) - SHOWN} lines more)" if len(wrong) > SHOWN else ""
        raise TrainerError("\n         ".join(wrong[:SHOWN]) + more, FORM)
    if not found:
        raise TrainerError(f"{path} holds no conversation", FORM)
    return found, hashlib.sha256(content).hexdigest()


def parse(line: bytes) -> list[Message]:
    """One line. Raises ValueError saying what is wrong."""
    try:
        value = json.loads(line)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"holds {_kind(value)}, not an object")
    messages = _member(value, "messages", KEYS)
    if not isinstance(messages, list) or not messages:
        raise ValueError("messages is no list of turns")
    turns = [_message(one, place) for place, one in enumerate(messages)]
    if not any(turn.role == "assistant" and turn.content.strip() for turn in turns):
        raise ValueError("no assistant turn: there is nothing to learn")
    return turns


def _message(value: Any, place: int) -> Message:
    name = f"messages[{place}]"
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {_kind(value)}, not an object")
    role, content = (_member(value, key, MESSAGE_KEYS, f"{name}.") for key in MESSAGE_KEYS)
    if role not in ROLES:
        near = difflib.get_close_matches(str(role), ROLES, 1, 0.5)
        advice = f"did you mean {near[0]}?" if near else f"known: {', '.join(ROLES)}"
        raise ValueError(f"{name}.role is {role!r}; {advice}")
    if not isinstance(content, str):
        raise ValueError(f"{name}.content is {_kind(content)}, not text")
    try:
        content.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}.content holds half a character (a lone surrogate)") from None
    return Message(role, content)


def _member(value: dict[str, Any], key: str, known: tuple[str, ...], prefix: str = "") -> Any:
    if key in value:
        return value[key]
    near = difflib.get_close_matches(key, [name for name in value if name not in known], 1, 0.4)
    advice = f"; there is {near[0]!r}, did you mean {key}?" if near else ""
    raise ValueError(f"the key {prefix}{key} is missing{advice}")


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
