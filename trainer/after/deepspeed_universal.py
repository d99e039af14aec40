"""Universal checkpoints, as DeepSpeed's ds_to_universal makes them: zero/PARAMETER/{fp32,exp_avg,exp_avg_sq,step}.pt.

A file holds the tensor, or {"param": tensor, ...}; made of stage 3 it is flat, and the step lies in
zero/optimizer_state.pt alone (checkpoint/ds_to_universal.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from trainer.after import deepspeed_pickle as pickles
from trainer.after.deepspeed_slices import MOMENTS, STEP, Slice, damaged, flat, number

COMMON = "optimizer_state.pt"


def names(folder: Path) -> list[str]:
    """The parameters it has."""
    return sorted(path.name for path in folder.iterdir() if (path / "fp32.pt").is_file())


def read(folder: Path) -> Iterator[Slice]:
    """The whole parameters, one at a time."""
    common: float | None = None
    for name in names(folder):
        own = folder / name
        state: dict[str, Any] = {kind: _tensor(own / f"{kind}.pt") for kind in MOMENTS if (own / f"{kind}.pt").exists()}
        if state:
            told = number(pickles.load(own / "step.pt")) if (own / "step.pt").exists() else None
            common = _common(folder) if told is None and common is None else common
            state[STEP] = common if told is None else told
        master = _tensor(own / "fp32.pt")
        yield flat(master, state, {}).cut(name, 0, 0, master.numel())


def _tensor(file: Path) -> Tensor:
    content = pickles.load(file)
    found = content.get("param") if isinstance(content, dict) else content
    if not isinstance(found, Tensor):
        raise damaged(f"{file.parent.name}/{file.name} holds no tensor")
    return found.reshape(-1)


def _common(folder: Path) -> float | None:
    """The step that stage 3 keeps once per sub group, the same in all."""
    if not (folder / COMMON).exists():
        return None
    content = pickles.load(folder / COMMON)
    base = content.get("optimizer_state_dict") or {}
    steps = {number(one.get(STEP)) for one in (base.get("state") or {}).values()}
    steps |= {number(group.get(STEP)) for group in content.get("param_groups") or []}
    found = steps - {None}
    if len(found) > 1:
        raise damaged("its parameters have taken different numbers of steps")
    return next(iter(found), None)
