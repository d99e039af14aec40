"""Folders in the form of DeepSpeed's stages 1 and 3, of made-up numbers, written without DeepSpeed.

Where DeepSpeed has classes of its own these have others: a reader must not care what they are.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import torch

KINDS = ("weight", "exp_avg", "exp_avg_sq")


def values(shapes: dict[str, tuple[int, ...]]) -> dict[str, dict[str, torch.Tensor]]:
    """By kind and name, tensors that all differ."""
    generator = torch.Generator().manual_seed(5)
    return {kind: {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()} for kind in KINDS}


def write(
    folder: Path,
    groups: list[dict[str, tuple[int, ...]]],
    ranks: int = 2,
    stage: int = 1,
    tag: str = "global_step5",
    **more,
) -> dict[str, dict[str, torch.Tensor]]:
    """One checkpoint and `latest`; groups: names and shapes by parameter group. Gives the whole tensors."""
    place = folder / tag
    place.mkdir(parents=True)
    whole = values({name: shape for group in groups for name, shape in group.items()})
    model = {
        "module": {},
        "buffer_names": [],
        "param_shapes": [{name: torch.Size(shape) for name, shape in group.items()} for group in groups],
        "dp_world_size": ranks,
        "mp_world_size": 1,
        "global_steps": 5,
        "ds_config": {"zero_optimization": {"stage": stage}},
        "ds_version": "0.19.8",
        **more,
    }
    for rank in range(ranks if stage == 3 else 1):
        prefix = f"zero_pp_rank_{rank}_" if stage == 3 else ""
        torch.save(model, place / f"{prefix}mp_rank_00_model_states.pt")
    for rank in range(ranks):
        state = (third if stage == 3 else second)(groups, whole, rank, ranks)
        content = {
            "optimizer_state_dict": {**state, "partition_count": ranks, "loss_scaler": SimpleNamespace(cur_scale=1)}
        }
        torch.save(content, place / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    (folder / "latest").write_text(tag)
    return whole


def second(groups, whole, rank: int, ranks: int) -> dict:
    """Every group's parameters end to end, padded to a multiple of the ranks, cut into equal partitions."""
    masters, states, mappings = [], {}, []
    for number, group in enumerate(groups):
        flats = {kind: torch.cat([whole[kind][name].flatten() for name in group]) for kind in KINDS}
        size = -(-len(flats["weight"]) // ranks)
        begin, end = rank * size, (rank + 1) * size
        masters.append(flats["weight"][begin:end].clone())
        padded = {
            kind: torch.nn.functional.pad(flat, (0, ranks * size - len(flat)))[begin:end]
            for kind, flat in flats.items()
        }
        states[number] = {"step": torch.tensor(5.0), "exp_avg": padded["exp_avg"], "exp_avg_sq": padded["exp_avg_sq"]}
        mapping, place = {}, 0
        for name, shape in group.items():
            first, last = max(place, begin), min(place + math.prod(shape), end)
            if first < last:
                mapping[name] = SimpleNamespace(start=first - begin, numel=last - first)
            place += math.prod(shape)
        mappings.append(mapping)
    options = [{"params": [number], "lr": 0.1} for number in states]
    return {
        "base_optimizer_state": {"state": states, "param_groups": options},
        "single_partition_of_fp32_groups": masters,
        "param_slice_mappings": mappings,
    }


def third(groups, whole, rank: int, ranks: int) -> dict:
    """Every parameter padded and cut by itself; the pieces of a group end to end."""

    def own(tensor):
        size = -(-tensor.numel() // ranks)
        return torch.nn.functional.pad(tensor.flatten(), (0, ranks * size - tensor.numel()))[
            rank * size : (rank + 1) * size
        ]

    flats = [{kind: torch.cat([own(whole[kind][name]) for name in group]) for kind in KINDS} for group in groups]
    states = {
        number: {"step": torch.tensor(5.0), "exp_avg": flat["exp_avg"], "exp_avg_sq": flat["exp_avg_sq"]}
        for number, flat in enumerate(flats)
    }
    return {
        "optimizer_state_dict": {"state": states, "param_groups": [{"params": list(states)}]},
        "fp32_flat_groups": [flat["weight"] for flat in flats],
    }
