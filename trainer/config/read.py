"""From defaults, presets, the baked profile, files and `--set a.b=c` to one Config; later wins."""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trainer.config.amounts import amount
from trainer.config.schema import Config, Stage
from trainer.errors import OUTSIDE_FAILED, TrainerError

SWITCH = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}


def apply(config: Config, values: Mapping[str, Any], source: str) -> None:
    """Puts nested values into the config. Raises TrainerError naming the key, the source and the nearest key."""
    for section, content in values.items():
        part = _member(config, section, section, source)
        if section == "curriculum":
            config.curriculum = _stages(content, source)
            continue
        if not isinstance(content, Mapping):
            raise TrainerError(
                f"{source}: {section} must hold keys, not {content!r}", f"for example {section}: {{...}}"
            )
        for key, value in content.items():
            _put(part, key, value, f"{section}.{key}", source)


def apply_text(config: Config, assignments: Iterable[str], source: str = "--set") -> None:
    """Puts `section.key=value` texts (and `curriculum=8:50M,64:1B,2048`) into the config."""
    for text in assignments:
        name, equals, value = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if equals and section == "curriculum" and not dot:
            config.curriculum = _stages(value.strip(), source)
            continue
        if not (equals and dot and key):
            there = [one for one in dataclasses.asdict(config) if hasattr(getattr(config, one), section)]
            meant = (
                f"did you mean {there[0]}.{section}=..." if there and not dot else "for example --set model.width=128"
            )
            raise TrainerError(f"{source} {text}: not of the form section.key=value", meant)
        apply(config, {section: {key: value.strip()}}, source)


def apply_file(config: Config, path: str) -> None:
    """Puts a YAML or JSON file into the config."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise TrainerError(f"cannot read {path}: {error.strerror}", "give --config a readable file") from None
    except UnicodeDecodeError:
        raise TrainerError(f"{path} is no text file", "give --config a YAML or JSON file") from None
    values = _parsed(text, path)
    if not isinstance(values, dict):
        raise TrainerError(f"{path} must hold sections with keys", "for example train: {steps: 10}")
    apply(config, values, path)


def apply_hardware(config: Config, profile: Mapping[str, Any]) -> None:
    """What the baked profile says of the machine: precision, sharding, attention, then its `trainer:` defaults."""
    if profile.get("precision"):
        config.precision.name = profile["precision"]
    if profile.get("attention"):
        config.model.attention = profile["attention"]
    spread = profile.get("parallelism") or {}
    config.parallel.zero = spread.get("zero", config.parallel.zero)
    config.parallel.offload = spread.get("offload", config.parallel.offload)
    apply(config, profile.get("trainer") or {}, "profile")


def _parsed(text: str, path: str) -> Any:
    if path.endswith(".json"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise TrainerError(f"{path} is not JSON: {error}", "mend the file") from None
    try:
        import yaml
    except ModuleNotFoundError:
        raise TrainerError("PyYAML is not installed here", "give --config a .json file", OUTSIDE_FAILED) from None
    try:
        return yaml.safe_load(text) or {}
    except (yaml.YAMLError, RecursionError) as error:
        raise TrainerError(f"{path} is not YAML: {str(error).splitlines()[0]}", "mend the file") from None


def _put(part: Any, key: str, value: Any, name: str, source: str) -> None:
    _member(part, key, name, source)
    setattr(part, key, _typed(value, typing.get_type_hints(type(part))[key], name, source))


def _stages(content: Any, source: str) -> list[Stage]:
    """From a list of mappings, or from text: see trainer.optim.curriculum.parse."""
    if isinstance(content, str):
        from trainer.optim.curriculum import parse

        return parse(content) if content.strip() else []
    if not isinstance(content, list) or not all(isinstance(entry, Mapping) for entry in content):
        raise TrainerError(f"{source}: curriculum must be a list of stages", "for example curriculum=8:50M,64:1B,2048")
    stages = []
    for number, entry in enumerate(content):
        stage = Stage()
        for key, value in entry.items():
            _put(stage, key, value, f"curriculum[{number}].{key}", source)
        stages.append(stage)
    return stages


def _member(part: Any, key: str, name: str, source: str) -> Any:
    known = [member.name for member in dataclasses.fields(part)]
    if key in known:
        return getattr(part, key)
    near = difflib.get_close_matches(str(key), known, n=1)
    advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
    raise TrainerError(f"{source}: unknown key {name}", advice)


def _typed(value: Any, kind: Any, name: str, source: str) -> Any:
    optional = type(None) in typing.get_args(kind)
    if optional:
        if value is None or str(value).lower() in ("null", "none", "auto", ""):
            return None
        kind = next(one for one in typing.get_args(kind) if one is not type(None))
    try:
        if kind is bool:
            return value if isinstance(value, bool) else SWITCH[str(value).lower()]
        if kind is int:
            return amount(str(value)) if isinstance(value, str) else _exactly(value)
        if isinstance(value, bool) or (kind is str and not isinstance(value, (str, int, float))):
            raise ValueError
        return kind(value)
    except (KeyError, ValueError, TypeError, OverflowError):
        raise TrainerError(f"{source}: {name} is {value!r}", f"it must be {KINDS[kind.__name__]}") from None


def _exactly(value: Any) -> int:
    if isinstance(value, bool) or value != int(value):
        raise ValueError
    return int(value)
