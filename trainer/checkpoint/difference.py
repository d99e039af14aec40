"""What differs between two checkpoints: what their manifests say and, where it is wanted, every tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.checkpoint import manifest, verify
from trainer.errors import OUTSIDE_FAILED, TrainerError

APART = {manifest.OWN, "whole", "files", "tensors", "format"}  # compared otherwise, or never the same
EQUAL = "equal"
DIFFERENT = "different"
ONLY_A = "only in A"
ONLY_B = "only in B"
OTHER_SHAPE = "other shape"
OTHER_TYPE = "other type"


@dataclass(frozen=True)
class Fact:
    """One thing the two say differently. name: dotted, as in the manifest; None: that one does not say."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True)
class Tensor:
    """One canonical tensor, whatever ranks wrote it.

    kind, name: of piece.Piece; state: EQUAL (every bit), DIFFERENT, ONLY_A ...; differing: elements whose bits differ;
    absolute: the largest difference of two elements; relative: that over the largest magnitude in either tensor. Both
    are infinite where one has a number that is not finite and the other has not the same, None where nothing compares.
    """

    kind: str
    name: str
    state: str
    elements: int
    differing: int = 0
    absolute: float | None = None
    relative: float | None = None


@dataclass(frozen=True)
class Difference:
    """facts: everything but files and tensors, lineage included; files: by name, `bytes sha256`; tensors: None when
    they were not looked at."""

    a: Path
    b: Path
    facts: list[Fact]
    files: list[Fact]
    tensors: list[Tensor] | None

    def agrees(self, within: float = 0.0) -> bool:
        """Whether all tensors are there in both and agree within this relative difference; 0: in every bit."""
        return all(
            tensor.state == EQUAL or (within > 0 and tensor.state == DIFFERENT and (tensor.relative or 0.0) <= within)
            for tensor in self.tensors or []
        )


def compare(a: Path, b: Path, tensors: bool = False, moved: Callable[[int], None] | None = None) -> Difference:
    """Compares two checkpoint folders (or, without tensors, two manifest.json files).

    tensors: hashes and then compares all of both, in pieces, so that they need not fit into memory; needs torch.
    moved: told of the bytes done. Raises TrainerError for what is no checkpoint, or damaged.
    """
    one, two = _manifest(a), _manifest(b)
    found = None
    if tensors:
        from trainer.checkpoint.tensor_difference import compare as compare_tensors

        for folder in (_folder(a), _folder(b)):
            reason = verify.fault(folder, moved=moved)
            if reason is not None:
                raise _unusable(folder, reason)
        found = list(compare_tensors(_folder(a), _folder(b), moved))
    files = [_files(content) for content in (one, two)]
    return Difference(a, b, list(_facts(_said(one), _said(two))), list(_facts(*files)), found)


def _folder(path: Path) -> Path:
    return path.parent if path.name == manifest.MANIFEST else path


def _manifest(path: Path) -> dict[str, Any]:
    try:
        return manifest.read(_folder(path))
    except manifest.Damaged as damage:
        raise _unusable(path, str(damage)) from None


def _unusable(path: Path, reason: str) -> TrainerError:
    return TrainerError(f"{path} is no whole checkpoint: {reason}", "compare another one", OUTSIDE_FAILED)


def _said(content: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_flat({name: value for name, value in content.items() if name not in APART}, ""))


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _files(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: f"{entry['bytes']:,} bytes {entry['sha256'][:12]}" for name, entry in content["files"].items()}


def _facts(one: Mapping[str, Any], two: Mapping[str, Any]) -> Iterator[Fact]:
    for name in sorted(one.keys() | two.keys()):
        if (name in one) != (name in two) or one[name] != two[name]:
            yield Fact(name, one.get(name), two.get(name))
