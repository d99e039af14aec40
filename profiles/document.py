"""One YAML file as plain values plus the place of every key, and the merge of two such files.

The places are kept through the merge, so that a wrong value is reported in the file that wrote it, not in the one
that extends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from profiles.errors import WrongInput

# libyaml is about ten times as fast; wheels of PyYAML carry it, some source builds do not.
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Key = tuple[str | int, ...]
MAX_DEPTH = 40  # a profile has some five
MAX_NODES = 20_000  # a profile has some fifty; aliases can multiply nodes without end


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key stands; line and column count from 1."""

    path: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Document:
    """Values of one or more merged files, and for each key path the place that decided it."""

    values: dict[str, Any]
    places: dict[Key, Place]

    def place(self, key: Key) -> Place | None:
        """Place of the key, or of the nearest key above it that has one."""
        for length in range(len(key), -1, -1):
            if key[:length] in self.places:
                return self.places[key[:length]]
        return None

    def under(self, above: Document) -> Document:
        """This document with `above` laid over it: mappings merge, everything else is replaced."""
        values = merge(self.values, above.values)
        both = (self.values, above.values)
        replaced = {key for key in above.places if not all(isinstance(value_at(side, key), dict) for side in both)}
        kept = {
            key: place for key, place in self.places.items() if not any(key[:n] in replaced for n in range(1, len(key)))
        }
        return Document(values, {**kept, **above.places})


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Deep merge, the later value wins; lists and scalars are replaced whole.

    Associative as long as no key is a mapping in one file and something else in another. A chain is folded from its
    root, so a `null` in the middle of a chain really clears what lies under it.
    """
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def value_at(values: Any, key: Key) -> Any:
    """The value at a key path, None when there is none."""
    for part in key:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return None
    return values


def read(path: Path) -> Document:
    """The file's document.

    Raises WrongInput with file, line and column: not readable, not UTF-8, no YAML, a key twice, no mapping.
    """
    shown = shorten(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise WrongInput(f"{shown}: byte {error.start} is not UTF-8", "save the file as UTF-8") from None
    except OSError as error:
        raise WrongInput(f"{shown}: {error.strerror or error}", "check the path and its permissions") from None
    return parse(text, shown)


def parse(text: str, shown: str) -> Document:
    """The document in `text`; `shown` is the file name that errors carry. Raises as `read`."""
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise WrongInput(f"{shown}:1:1: the file is empty", "write at least `extends:` and a `description:`")
        check(node, shown)
        values = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{shown}:{mark.line + 1}:{mark.column + 1}" if mark else shown
        raise WrongInput(f"{where}: {error.problem or 'not YAML'}", "correct the YAML there") from None
    except yaml.YAMLError as error:
        raise WrongInput(f"{shown}: {' '.join(str(error).split())}", "correct the YAML there") from None
    except RecursionError:
        raise WrongInput(f"{shown}: nested too deep", "a profile is flat: take brackets out") from None
    places: dict[Key, Place] = {(): Place(shown, 1, 1)}
    collect(node, (), shown, places)
    return Document(values, places)


def check(node: yaml.Node, shown: str) -> None:
    """Refuses what YAML allows and a profile must not have: a list on top, keys twice, keys that are no text."""
    if not isinstance(node, yaml.MappingNode):
        raise WrongInput(f"{at(node, shown)}: a profile is a mapping of keys", "write `key: value` lines")
    waiting: list[tuple[yaml.Node, tuple[int, ...]]] = [(node, ())]
    seen = 0
    while waiting:
        item, parents = waiting.pop()
        seen += 1
        if id(item) in parents:
            raise WrongInput(f"{at(item, shown)}: the anchor contains itself", "write the value out")
        if seen > MAX_NODES:
            raise WrongInput(f"{shown}: more than {MAX_NODES} values", "take aliases out: a profile is small")
        if len(parents) > MAX_DEPTH:
            raise WrongInput(f"{at(item, shown)}: nested too deep", "a profile is flat: take brackets out")
        inside = (*parents, id(item))
        if isinstance(item, yaml.MappingNode):
            check_keys(item, shown)
            waiting += [(value, inside) for _, value in item.value]
        elif isinstance(item, yaml.SequenceNode):
            waiting += [(value, inside) for value in item.value]


def check_keys(node: yaml.MappingNode, shown: str) -> None:
    """Each key once, and each one text (YAML reads an unquoted `on:` as a truth value)."""
    first: dict[str, yaml.Node] = {}
    for key, _ in node.value:
        if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
            raise WrongInput(f"{at(key, shown)}: the key `{key.value}` is not text", "put the key in quotes")
        if key.value in first:
            line = first[key.value].start_mark.line + 1
            raise WrongInput(
                f"{at(key, shown)}: the key `{key.value}` stands here a second time (first in line {line})",
                "keep one of the two",
            )
        first[key.value] = key


def collect(node: yaml.Node, key: Key, shown: str, places: dict[Key, Place]) -> None:
    """Fills `places`: a mapping's entry stands where its key does, a list's item where it begins."""
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            inner = (*key, str(name.value))
            places[inner] = place_of(name, shown)
            collect(value, inner, shown, places)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            places[(*key, index)] = place_of(value, shown)
            collect(value, (*key, index), shown, places)


def place_of(node: yaml.Node, shown: str) -> Place:
    """A node's first character."""
    return Place(shown, node.start_mark.line + 1, node.start_mark.column + 1)


def at(node: yaml.Node, shown: str) -> str:
    """`file:line:column` of a node."""
    return str(place_of(node, shown))


def shorten(path: Path) -> str:
    """The path as the user would type it from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
