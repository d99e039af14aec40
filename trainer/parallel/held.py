"""What a rank holds of the training state: where it lies, how it is given as pieces, and how it is filled from them.

An optimizer keeps state per tensor that it updates. Under DDP such a tensor is a parameter; under ZeRO a flat one,
this rank's partition of many parameters, or of one group's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from trainer.checkpoint.piece import BUFFER, WEIGHT, Piece, Stored
from trainer.errors import REFUSED, TrainerError
from trainer.parallel import cut, weights

STEP = "step"  # AdamW's count of steps, the only state that is one number
ADAMW = {"exp_avg", "exp_avg_sq", STEP}
MUON = {"momentum"}

State = MutableMapping[Any, dict[str, Any]]  # an optimizer's: tensor -> {kind: tensor}


@dataclass(frozen=True, eq=False)
class Owner:
    """A tensor the optimizer updates.

    tensor: fp32, contiguous; options: its parameter group; names: all parameters it stands for, on any rank.
    """

    tensor: torch.Tensor
    options: Mapping[str, Any]
    names: tuple[str, ...]

    @property
    def kinds(self) -> set[str]:
        """The states its optimizer keeps."""
        return MUON if self.options.get("kind") == "muon" else ADAMW


@dataclass(frozen=True, eq=False)
class Held:
    """Elements [begin, begin + length) of the flattened parameter `name`: owner.tensor's [start, start + length)."""

    name: str
    shape: tuple[int, ...]
    begin: int
    length: int
    owner: Owner
    start: int

    def within(self, tensor: torch.Tensor) -> torch.Tensor:
        """The part of a tensor of the owner's size that is this range: a flat view."""
        return tensor.detach().view(-1).narrow(0, self.start, self.length)


def whole(parameters: Mapping[str, torch.nn.Parameter], groups: Iterable[Mapping[str, Any]]) -> list[Owner]:
    """Every parameter an owner of its own: DDP, DeepSpeed's stage 0."""
    options = {id(parameter): group for group in groups for parameter in group["params"]}
    return [Owner(parameter, options[id(parameter)], (name,)) for name, parameter in parameters.items()]


def share(owners: Sequence[Owner], rank: int, ranks: int) -> list[Held]:
    """A rank's equal share of owners that are whole parameters, equal on all ranks."""
    known = {owner.names[0]: owner for owner in owners}
    shapes = {name: tuple(owner.tensor.shape) for name, owner in known.items()}
    return [
        Held(name, shapes[name], begin, end - begin, known[name], begin)
        for name, begin, end in cut.ranges(shapes, rank, ranks)
    ]


def pieces(held: Sequence[Held], state: State) -> list[Piece]:
    """Views of the masters, then of each kind of state, in the order of `held`; no state yet: masters alone.

    A step is given by whoever holds the parameter's first element.
    """
    found = [Piece(WEIGHT, one.name, one.shape, one.begin, one.within(one.owner.tensor)) for one in held]
    for kind in sorted({kind for one in held for kind in one.owner.kinds}):
        for one in held:
            # not state[...]: a defaultdict would make an entry, which torch takes for a state that is there
            tensor = state.get(one.owner.tensor, {}).get(kind)
            if tensor is None or (kind == STEP and one.begin > 0):
                continue
            if kind == STEP:
                found.append(Piece(kind, one.name, (), 0, tensor.detach().view(1)))
            else:
                found.append(Piece(kind, one.name, one.shape, one.begin, one.within(tensor)))
    return found


def check(shapes: Mapping[str, tuple[int, ...]], owners: Iterable[Owner], stored: Stored) -> None:
    """Raises TrainerError unless `stored` has exactly these parameters, and for each no state or all its optimizer
    keeps. The same on every rank."""
    weights.check(stored.names(WEIGHT), shapes)
    known = {kind: stored.names(kind) for kind in stored.kinds() - {WEIGHT, BUFFER}}
    for owner in owners:
        for name in owner.names:
            kinds = {kind for kind, names in known.items() if name in names}
            fits = all(known[kind][name] == (() if kind == STEP else shapes[name]) for kind in kinds)
            if kinds and (kinds != owner.kinds or not fits):
                raise TrainerError(
                    f"the checkpoint has other optimizer state for {name}: {', '.join(sorted(kinds))}",
                    "resume with the optim.name the run was started with, or start another run folder",
                    REFUSED,
                )


def fill(owners: Iterable[Owner], held: Sequence[Held], state: State, stored: Stored) -> None:
    """Masters and optimizer state from `stored`, range by range; where it has no state, none stays.

    Padding stays as it is: zero from the beginning, as its gradient is. Raises TrainerError, before anything is
    changed, where parameters that one flat tensor stands for have taken different numbers of steps.
    """
    known = {kind: stored.names(kind) for kind in stored.kinds() - {WEIGHT, BUFFER}}
    there = [(owner, [name for name in owner.names if name in known.get(min(owner.kinds), {})]) for owner in owners]
    steps = [_steps(names, stored) if names and STEP in owner.kinds else None for owner, names in there]
    for one in held:
        one.within(one.owner.tensor).copy_(stored.read(WEIGHT, one.name, one.begin, one.begin + one.length))
    for (owner, names), count in zip(there, steps, strict=True):
        if not names:
            state.pop(owner.tensor, None)
            continue
        _prepare(owner, state, count)
        for kind in sorted(owner.kinds - {STEP}):
            _fill_state(owner, kind, [one for one in held if one.owner is owner], state, stored, known[kind])


def _fill_state(
    owner: Owner, kind: str, held: Sequence[Held], state: State, stored: Stored, known: Mapping[str, Any]
) -> None:
    for one in held:
        place = one.within(state[owner.tensor][kind])
        if one.name in known:
            place.copy_(stored.read(kind, one.name, one.begin, one.begin + one.length))
        else:
            place.zero_()


def _prepare(owner: Owner, state: State, steps: float | None) -> None:
    """Makes the state tensors the optimizer would make at its first step; sets the count of steps.

    Where AdamW keeps `step`: torch/optim/adam.py, _init_group. Existing tensors stay, others may refer to them.
    """
    own = state.setdefault(owner.tensor, {})
    for kind in owner.kinds - {STEP} - own.keys():
        own[kind] = torch.zeros_like(owner.tensor, memory_format=torch.preserve_format, requires_grad=False)
    if steps is None:
        return
    if STEP not in own:
        beside = owner.options.get("fused") or owner.options.get("capturable")
        own[STEP] = torch.zeros((), dtype=torch.float32, device=owner.tensor.device if beside else "cpu")
    own[STEP].fill_(steps)


def _steps(names: Iterable[str], stored: Stored) -> float:
    found = {float(stored.read(STEP, name)) for name in names}
    if len(found) > 1:
        raise TrainerError(
            f"parameters have taken different numbers of steps: {min(found):g} to {max(found):g}; ZeRO keeps one",
            "resume with parallel.engine=ddp",
            REFUSED,
        )
    return found.pop()
