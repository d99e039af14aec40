"""Reads files that torch.save wrote without running any code of theirs.

A pickle names the functions that build its objects. Here such a name never leads to an import: a few that make tensors
and containers have their counterparts below, and every other one, DeepSpeed's own classes included, becomes an inert
stand-in that keeps what it is given and does nothing.
"""

from __future__ import annotations

import collections
import pickle
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trainer.errors import OUTSIDE_FAILED, TrainerError


class Inert:
    """In place of an object of a class that is not ours to run: `arguments` it was made with, and its attributes."""

    arguments: tuple[Any, ...] = ()

    def __new__(cls, *arguments: Any, **_: Any) -> Inert:
        """Keeps what the object was made with."""
        made = super().__new__(cls)
        made.__dict__["arguments"] = arguments
        return made

    def __init__(self, *_: Any, **__: Any) -> None:
        """Takes whatever the real one takes."""

    def __call__(self, *arguments: Any, **_: Any) -> Inert:
        """What a stand-in for a function returns: a stand-in."""
        return Inert(*arguments)

    def __setstate__(self, state: Any) -> None:
        """Attributes that the file gives it; those of a mapping only."""
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.__dict__.update({key: value for key, value in part.items() if isinstance(key, str)})

    def __setitem__(self, key: Any, value: Any) -> None:
        """An entry of what was a mapping: nothing here needs it."""

    def append(self, value: Any) -> None:
        """An entry of what was a list: nothing here needs it."""

    def extend(self, values: Any) -> None:
        """Entries of what was a list: nothing here needs them."""

    def add(self, value: Any) -> None:
        """An entry of what was a set: nothing here needs it."""


class _Made:
    """A function of ours that a file may call; without attributes that a file could set."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"a file may not set {name}")

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    made = torch.empty(0, dtype=storage.dtype, device=storage._untyped_storage.device)
    return made.set_(storage._untyped_storage, offset, tuple(size), tuple(stride))


def _typed_tensor(make: Any, _: Any, arguments: Any, __: Any) -> Any:
    """A tensor with attributes, without them."""
    return make(*arguments)


KNOWN: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _Made(_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): _Made(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Made(lambda data, *_: data),
    ("torch._utils", "_rebuild_parameter_with_state"): _Made(lambda data, *_: data),
    ("torch._tensor", "_rebuild_from_type_v2"): _Made(_typed_tensor),
    ("torch", "Size"): _Made(lambda sizes=(): tuple(sizes)),
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
}
DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype) and not value.is_complex}


def known(module: str, name: str) -> Any:
    """What stands for a global of the file: never anything imported by its wish."""
    if (module, name) in KNOWN:
        return KNOWN[module, name]
    if module == "torch" and name in DTYPES:
        return DTYPES[name]
    return type(name.rpartition(".")[2] or "Inert", (Inert,), {"__module__": "inert", "origin": f"{module}.{name}"})


class _Unpickler(pickle.Unpickler):
    """The base that torch.load derives its own from; torch itself turns the names of storages into their types."""

    def find_class(self, module: str, name: str) -> Any:
        """See `known`."""
        return known(module, name)


def _load(file: Any, **options: Any) -> Any:
    return _Unpickler(file, **options).load()


# what torch.load asks of a pickle module
_MODULE = types.SimpleNamespace(
    __name__=__name__, Unpickler=_Unpickler, load=_load, UnpicklingError=pickle.UnpicklingError
)


def load(path: Path) -> Any:
    """The content of a file by torch.save, its tensors mapped from the disk, its bytes checked against their CRC-32.

    Nothing of it is run. Raises TrainerError for a file that is damaged, half written, or no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
            if "constants.pkl" in names or "data.pkl" not in names:
                raise _damaged(path, "it was not written by torch.save")
            bad = archive.testzip()
        if bad is not None:
            raise _damaged(path, f"{bad} in it fails its CRC-32")
        return torch.load(path, map_location="cpu", mmap=True, weights_only=False, pickle_module=_MODULE)
    except TrainerError:
        raise
    except zipfile.BadZipFile:
        raise _damaged(path, "it is cut off, or was not written by torch.save in its zip form") from None
    except OSError as error:
        raise _damaged(path, error.strerror or "it cannot be read") from None
    except Exception as error:  # a damaged pickle can fail with anything
        lines = str(error).strip().splitlines()
        raise _damaged(path, lines[0] if lines else type(error).__name__) from None


def _damaged(path: Path, reason: str) -> TrainerError:
    hint = "copy the folder again from where it was written, or name another with --tag"
    return TrainerError(f"cannot read {path}: {reason}", hint, OUTSIDE_FAILED)
