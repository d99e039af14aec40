"""One readable line from pydantic's list of errors: where it stands, what is wrong, what was likely meant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from profiles.document import Document, Key
from profiles.errors import WrongInput
from profiles.nearest import nearest

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError


def complaint(error: ValidationError, document: Document) -> WrongInput:
    """The first error in the order of the file, with the number of further ones."""
    errors = sorted(error.errors(include_url=False), key=lambda item: order(document, written(item["loc"], document)))
    first: Any = errors[0]
    key = written(first["loc"], document)
    what, next_step = words(first, key)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return WrongInput(f"{document.place(key)}: {what}{more}", next_step)


def order(document: Document, key: Key) -> tuple[str, int, int]:
    """Sorting key of an error: its place."""
    place = document.place(key)
    return (place.path, place.line, place.column) if place else ("", 0, 0)


def written(loc: tuple[Any, ...], document: Document) -> Key:
    """pydantic's path without the steps it adds for unions and mapping keys, as far as the file has it."""
    key: Key = ()
    for part in loc:
        if (*key, part) in document.places:
            key = (*key, part)
        elif part == "[key]":
            break
    return key


def words(error: dict[str, Any], key: Key) -> tuple[str, str]:
    """What is wrong and what to do next."""
    name = ".".join(str(part) for part in key) or "profile"
    kind, context = error["type"], error.get("ctx") or {}
    if kind == "extra_forbidden":
        known = fields(key[:-1])
        near = nearest(str(key[-1]), known)
        step = f"did you mean `{near}`?" if near else f"known here: {', '.join(known)}"
        return f"unknown key `{name}`", step
    if kind == "missing":
        missing = ".".join(str(part) for part in error["loc"])
        return f"`{missing}` is missing", f"write `{missing}:`, or extend a profile that has it"
    if kind == "literal_error":
        near = nearest(str(error["input"]), [choice.strip("' ") for choice in context["expected"].split(",")])
        step = f"did you mean `{near}`?" if near else "choose one of those"
        return f"`{name}` is {short(error['input'])}, but must be {context['expected']}", step
    if kind == "value_error":
        return f"`{name}`: {context['error']}", "correct it there"
    if kind == "string_pattern_mismatch":
        return f"`{name}` is {short(error['input'])}, which has the wrong form", shape(key)
    return f"`{name}` is {short(error['input'])}: {error['msg'][:1].lower()}{error['msg'][1:]}", shape(key)


def shape(key: Key) -> str:
    """An example of the right form, from the schema."""
    example = examples(key)
    return f"write it like {example}" if example else "correct it there"


def short(value: Any) -> str:
    """The wrong value, cut to fit in a line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def fields(key: Key) -> list[str]:
    """Keys allowed at a path."""
    from profiles.schema import Profile

    model = model_at(Profile, key)
    known = [] if model is None else list(model.model_fields)
    return ["extends", *(name for name in known if name != "name")] if not key else known


def examples(key: Key) -> str:
    """The first example of the field at a path, '' without one."""
    import json

    from profiles.schema import Profile

    names = tuple(part for part in key if isinstance(part, str))
    for length in range(len(names), 0, -1):
        model = model_at(Profile, names[: length - 1])
        field = model.model_fields.get(names[length - 1]) if model else None
        if field is not None:
            return json.dumps(field.examples[0]) if field.examples else ""
    return ""


def model_at(model: type[BaseModel], key: Key) -> type[BaseModel] | None:
    """The model that validates the value at a path, None where it is no mapping of known keys."""
    from typing import get_args

    from pydantic import BaseModel

    found: type[BaseModel] | None = model
    for part in key:
        field = found.model_fields.get(str(part)) if found else None
        if field is None:
            return None
        kinds = get_args(field.annotation) or (field.annotation,)
        found = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return found
