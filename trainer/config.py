"""The configuration of a run: typed, plain JSON; from defaults, profile, files and `--set a.b=c`, in that order."""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.errors import TrainerError


@dataclass
class Model:
    """GPT-2 style decoder. Defaults: 0.1 million parameters, for a CPU and for smoke tests."""

    layers: int = 2
    heads: int = 4
    width: int = 64
    context: int = 64  # tokens
    vocab: int = 256  # tokens are bytes; fewer do for data with small values only
    dropout: float = 0.0


@dataclass
class Data:
    """path: a text file read as bytes; empty means the text baked beside the code."""

    path: str = ""


@dataclass
class Optim:
    """AdamW, linear warm-up, cosine to `min_lr` at step `decay_steps` (not at the last step: so that stopping at
    another step does not change the steps before it)."""

    lr: float = 3e-3
    min_lr: float = 3e-4
    warmup: int = 10  # steps
    decay_steps: int = 1000
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0  # gradient norm; 0: no clipping


@dataclass
class Train:
    """steps: optimizer steps in the whole run, resumed parts included; limit_seconds: 0 means no limit."""

    steps: int = 100
    micro_batch: int = 8  # sequences
    accumulation: int = 1  # micro-batches per step
    seed: int = 1337
    precision: str = "fp32"  # fp32 or bf16 (autocast)
    device: str = "auto"  # auto, cpu, cuda
    deterministic: bool = True
    limit_seconds: float = 0.0


@dataclass
class Checkpoint:
    """every: steps between saves, 0 only at the end; keep: newest checkpoints that stay on disk."""

    every: int = 50
    keep: int = 3


@dataclass
class Config:
    """Everything that decides a run."""

    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=Optim)
    train: Train = field(default_factory=Train)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)

    def to_json(self) -> dict[str, Any]:
        """As nested plain values."""
        return dataclasses.asdict(self)


def apply(config: Config, values: Mapping[str, Any], source: str) -> None:
    """Puts nested values into the config. Raises TrainerError naming the key, the source and the nearest key."""
    for section, content in values.items():
        part = _member(config, section, section, source)
        if not isinstance(content, Mapping):
            raise TrainerError(
                f"{source}: {section} must hold keys, not {content!r}", f"for example {section}: {{...}}"
            )
        hints = typing.get_type_hints(type(part))
        for key, value in content.items():
            name = f"{section}.{key}"
            _member(part, key, name, source)
            setattr(part, key, _typed(value, hints[key], name, source))


def apply_text(config: Config, assignments: Iterable[str]) -> None:
    """Puts `section.key=value` texts into the config."""
    for text in assignments:
        name, equals, value = text.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            raise TrainerError(f"--set {text}: not of the form section.key=value", "for example --set model.width=128")
        apply(config, {section: {key: value.strip()}}, "--set")


def apply_file(config: Config, path: str) -> None:
    """Puts a JSON file into the config."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainerError(f"cannot read {path}: {error.strerror}", "give --config a readable JSON file") from None
    except ValueError as error:
        raise TrainerError(f"{path} is not JSON: {error}", "mend the file") from None
    if not isinstance(values, dict):
        raise TrainerError(f"{path} must hold a JSON object", 'for example {"train": {"steps": 10}}')
    apply(config, values, path)


def check(config: Config) -> None:
    """Refuses values that cannot train, before anything is allocated."""
    model, train = config.model, config.train
    positive = {
        "model.layers": model.layers,
        "model.heads": model.heads,
        "model.width": model.width,
        "model.context": model.context,
        "model.vocab": model.vocab,
        "train.steps": train.steps,
        "train.micro_batch": train.micro_batch,
        "train.accumulation": train.accumulation,
        "checkpoint.keep": config.checkpoint.keep,
    }
    for name, value in positive.items():
        if value < 1:
            raise TrainerError(f"{name} is {value}", "it must be at least 1")
    if model.width % model.heads:
        raise TrainerError(f"model.width {model.width} is not a multiple of model.heads {model.heads}", "change one")
    if train.precision not in ("fp32", "bf16"):
        raise TrainerError(f"train.precision is {train.precision!r}", "choose fp32 or bf16")


def _member(part: Any, key: str, name: str, source: str) -> Any:
    known = [member.name for member in dataclasses.fields(part)]
    if key in known:
        return getattr(part, key)
    near = difflib.get_close_matches(key, known, n=1)
    advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
    raise TrainerError(f"{source}: unknown key {name}", advice)


def _typed(value: Any, kind: type, name: str, source: str) -> Any:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    try:
        if kind is bool:
            return value if isinstance(value, bool) else words[str(value).lower()]
        if isinstance(value, bool) or (kind is int and isinstance(value, float) and value != int(value)):
            raise ValueError
        return kind(value)
    except (KeyError, ValueError, TypeError, OverflowError):
        raise TrainerError(f"{source}: {name} is {value!r}", f"it must be of type {kind.__name__}") from None
