"""Known open models by name, with their dimensions (tables/models.yaml) or by rule (MPT, nanochat)."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from fleet.capacity.families import MPT_SIZES, mpt, nanochat
from fleet.capacity.shape import Shape
from profiles.document import Loader
from profiles.errors import WrongInput
from profiles.nearest import nearest

TABLE = Path(__file__).parent / "tables" / "models.yaml"
NANOCHAT = re.compile(r"(?:nanochat-)?d(\d{1,3})")
NANOCHAT_DEPTHS = (12, 20, 24, 26, 32, 48, 64, 80)  # those that `names` lists; any depth is known
MPT_LENGTH = 2048  # of the learned positions, when the name alone is given


@lru_cache(maxsize=1)
def _rows() -> dict[str, dict[str, Any]]:
    """Every model's fields, style merged in, in the file's order."""
    document = yaml.load(TABLE.read_text("utf-8"), Loader=Loader)  # a safe loader, see document.Loader
    styles = document["styles"]
    return {name: {**styles[row["style"]], **row} for name, row in document["models"].items()}


@lru_cache(maxsize=1)
def _aliases() -> dict[str, str]:
    return {other: name for name, row in _rows().items() for other in row.get("also", ())}


def names() -> list[str]:
    """Every name `model` knows, other spellings left out."""
    formula = [f"mpt-{size}" for size in MPT_SIZES] + [f"nanochat-d{depth}" for depth in NANOCHAT_DEPTHS]
    return [*_rows(), *formula]


def model(name: str) -> Shape:
    """The model's shape, as its published weights have it. Case, spaces, underscores and an owner in front
    (`meta-llama/`) do not matter. Raises WrongInput, naming the nearest known name."""
    key = plain(name)
    key = _aliases().get(key, key)
    depth = NANOCHAT.fullmatch(key)
    if depth and int(depth[1]) > 0:
        return nanochat(int(depth[1]))
    if key.removeprefix("mpt-") in MPT_SIZES and key.startswith("mpt-"):
        return mpt(*MPT_SIZES[key.removeprefix("mpt-")], length=MPT_LENGTH, name=key)
    if key not in _rows():
        near = nearest(key, [*names(), *_aliases()])
        hint = f"did you mean `{near}`?" if near else f"known are for example: {', '.join(names()[:6])}"
        raise WrongInput(f"unknown model `{name}`", hint)
    return _shape(key, _rows()[key])


def source(name: str) -> str:
    """Where the model's dimensions stand. Raises WrongInput as `model` does."""
    shape = model(name)
    row = _rows().get(shape.name)
    return str(row["source"]) if row else "by rule: fleet/capacity/families.py"


def plain(name: str) -> str:
    """'meta-llama/Llama 3.1_8B' -> 'llama-3.1-8b', 'Llama3-8B' -> 'llama-3-8b'."""
    key = re.sub(r"[\s_]+", "-", name.strip().lower().rsplit("/", 1)[-1])
    key = re.sub(r"^(meta-)?(llama)-?(?=\d)", r"\2-", key)
    return re.sub(r"-(hf|base)$", "", key)


def _shape(name: str, row: dict[str, Any]) -> Shape:
    fields = {key: value for key, value in row.items() if key not in ("style", "also", "source")}
    fields.setdefault("kv_heads", fields["heads"])
    fields.setdefault("head_dim", fields["width"] // fields["heads"])
    return Shape(name=name, **fields)
