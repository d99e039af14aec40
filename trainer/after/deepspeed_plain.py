"""Stage 0: all of it in one model_states file, and the optimizer's tensors without names.

The base optimizer's own state_dict where parameters are fp32; fp32 masters beside it where they are 16 bits wide: each
by itself (runtime/fp16/unfused_optimizer.py) or a parameter group's end to end (runtime/fp16/fused_optimizer.py).

Optimizers number parameters in the order in which their groups were given them, which is mostly the model's within a
group. So those of one shape are matched in the model's order, where one group has all of that shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from trainer.after.deepspeed_slices import Slice, damaged, flat
from trainer.errors import TrainerError

SPLIT = "optimizer groups that split parameters of one shape cannot be told apart at stage 0"
ADVICE = "save it once with ZeRO stage 1, which writes names, and import that"


def read(model: Mapping[str, Any], parameters: Sequence[str]) -> Iterator[Slice]:
    """The whole parameters. parameters: which of the module's tensors they are, in the model's order."""
    state, module = model.get("optimizer"), model["module"]
    if not isinstance(state, dict):
        raise damaged("it was saved without its optimizer")
    values = {name: module[name] for name in parameters}
    if "fp32_groups_flat" in state:
        return _fused(state, values)
    if "fp32_groups" in state:
        return _unfused(state, values)
    return _torch(state, values)


def scaler(model: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the 16-bit optimizers keep of the loss scale."""
    state = model.get("optimizer")
    return state if isinstance(state, dict) and state.get("dynamic_loss_scale") else None


def _torch(state: Mapping[str, Any], values: Mapping[str, Tensor]) -> Iterator[Slice]:
    numbers = [list(group["params"]) for group in state["param_groups"]]
    if not state["state"]:
        for name, value in values.items():
            yield flat(value, {}, {}).cut(name, 0, 0, value.numel())
        return
    known = {number: tuple(one["exp_avg"].shape) for number, one in state["state"].items() if "exp_avg" in one}
    if known.keys() != {number for group in numbers for number in group}:
        raise damaged("some parameters have no Adam state: they took no part, or the optimizer is another")
    names = _named([[(number, known[number]) for number in group] for group in numbers], values)
    for options in state["param_groups"]:
        for number in options["params"]:
            name = names[number]
            yield flat(values[name], state["state"][number], options).cut(name, 0, 0, values[name].numel())


def _unfused(state: Mapping[str, Any], values: Mapping[str, Tensor]) -> Iterator[Slice]:
    base = state["optimizer_state_dict"]
    masters: dict[Any, Tensor] = {}
    for options, group in zip(base["param_groups"], state["fp32_groups"], strict=True):
        masters.update(zip(options["params"], group, strict=True))
    groups = [[(number, tuple(masters[number].shape)) for number in one["params"]] for one in base["param_groups"]]
    names = _named(groups, values)
    for options in base["param_groups"]:
        for number in options["params"]:
            name, master = names[number], masters[number]
            if not _rounds_to(master, values[name]):
                raise TrainerError(f"the optimizer's groups are not in the model's order at {name}", ADVICE)
            yield flat(master, base["state"].get(number, {}), options).cut(name, 0, 0, master.numel())


def _fused(state: Mapping[str, Any], values: Mapping[str, Tensor]) -> Iterator[Slice]:
    """A flat master is told by what it rounds to: the first parameter in the model's order that it fits."""
    base = state["optimizer_state_dict"]
    left, group_of = dict(values), {}
    for number, (options, master) in enumerate(zip(base["param_groups"], state["fp32_groups_flat"], strict=True)):
        whole, start = flat(master, base["state"].get(options["params"][0], {}), options), 0
        while start < whole.master.numel() and left:
            name = next((name for name, value in left.items() if _lies_at(whole.master, start, value)), None)
            if name is None:
                break
            yield whole.cut(name, 0, start, values[name].numel())
            start += left.pop(name).numel()
            group_of[name] = number
    if left:
        raise TrainerError(f"the optimizer's flat groups do not hold {next(iter(left))} as the model has it", ADVICE)
    for name, number in group_of.items():
        twin = next((one for one in values if group_of[one] != number and _same(values[one], values[name])), None)
        if twin is not None:
            raise TrainerError(f"{name} and {twin} look the same; {SPLIT}", ADVICE)


def _named(groups: Sequence[Sequence[tuple[Any, tuple[int, ...]]]], values: Mapping[str, Tensor]) -> dict[Any, str]:
    """The name of each of the optimizer's numbers. groups: numbers with shapes."""
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for name, value in values.items():
        by_shape.setdefault(tuple(value.shape), []).append(name)
    found: dict[Any, str] = {}
    taken: dict[tuple[int, ...], int] = {}  # by shape, the group that has it
    for place, group in enumerate(groups):
        for number, shape in group:
            if taken.setdefault(shape, place) != place:
                raise TrainerError(f"two groups have parameters of the shape {shape}; {SPLIT}", ADVICE)
            waiting = by_shape.get(shape)
            if not waiting:
                raise damaged(f"its optimizer has more parameters of the shape {shape} than its model")
            found[number] = waiting.pop(0)
    missing = next((names[0] for names in by_shape.values() if names), None)
    if missing is not None:
        raise damaged(f"its optimizer does not have {missing}")
    return found


def _rounds_to(master: Tensor, value: Tensor) -> bool:
    return bool((master.reshape(-1).to(value.dtype) == value.reshape(-1)).all())


def _lies_at(master: Tensor, start: int, value: Tensor) -> bool:
    length = math.prod(value.shape)
    return start + length <= master.numel() and _rounds_to(master.narrow(0, start, length), value)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.numel() == other.numel() and bool((one.reshape(-1) == other.reshape(-1)).all())
