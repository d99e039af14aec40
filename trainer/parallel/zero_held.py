"""What a rank of ZeRO holds: where DeepSpeed put which range of which parameter; and 16-bit parameters from masters.

Attribute names are those of runtime/zero/stage_1_and_2.py, stage3.py, runtime/bf16_optimizer.py and
utils/tensor_fragment.py, 0.15 to 0.19.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from trainer.parallel import weights
from trainer.parallel.held import Held, Owner


def held(
    optimizer: Any, stage: int, parameters: Mapping[str, torch.nn.Parameter], rank: int
) -> tuple[list[Owner], list[Held]]:
    """This rank's flat fp32 tensors, and the ranges of parameters in them, in the order of `parameters`.

    optimizer: DeepSpeed's of stage 1, 2 or 3. A rank may have flat tensors of padding only, and no range in them.
    """
    names = {id(parameter): name for name, parameter in parameters.items()}
    owners = _of_partitions(optimizer, names) if stage == 3 else _of_groups(optimizer, names)
    if stage == 3:
        return owners, _pieces(optimizer, owners, parameters, rank)
    return owners, _fragments(owners, parameters)


def _of_groups(optimizer: Any, names: Mapping[int, str]) -> list[Owner]:
    """Stages 1 and 2: a group's parameters laid end to end and cut into equal partitions, one for each rank."""
    if hasattr(optimizer, "fp32_groups_flat_partition"):  # BF16_Optimizer: stage 1, bf16, not offloaded
        flats, groups = optimizer.fp32_groups_flat_partition, optimizer.bf16_groups
    else:
        flats, groups = optimizer.single_partition_of_fp32_groups, optimizer.bit16_groups
    options = optimizer.optimizer.param_groups
    return [
        Owner(flat, group, tuple(names[id(member)] for member in members))
        for flat, group, members in zip(flats, options, groups, strict=True)
    ]


def _fragments(owners: Sequence[Owner], parameters: Mapping[str, torch.nn.Parameter]) -> list[Held]:
    found = []
    for name, parameter in parameters.items():
        mapping: Any = getattr(parameter, "_hp_mapping", None)  # None: on other ranks
        if mapping is None:
            continue
        own, flat = mapping.lp_fragment_address, mapping.hp_fragment_address
        owner = owners[mapping.param_group_index]
        found.append(Held(name, tuple(parameter.shape), own.start, own.numel, owner, flat.start))
    return found


def _of_partitions(optimizer: Any, names: Mapping[int, str]) -> list[Owner]:
    """Stage 3: every parameter cut into equal pieces; a rank's pieces laid end to end, by sub-groups."""
    options = optimizer.optimizer.param_groups
    return [
        Owner(flat, options[optimizer.sub_group_to_group_id[number]], tuple(names[id(member)] for member in members))
        for number, (flat, members) in enumerate(
            zip(optimizer.fp32_partitioned_groups_flat, optimizer.fp16_groups, strict=True)
        )
    ]


def _pieces(
    optimizer: Any, owners: Sequence[Owner], parameters: Mapping[str, torch.nn.Parameter], rank: int
) -> list[Held]:
    found = []
    for name, parameter in parameters.items():
        number, start, length = optimizer.grad_position[optimizer.get_param_id(parameter)]
        begin = rank * length
        kept = min(length, int(parameter.ds_numel) - begin)  # the last pieces may be padding, in part or all
        if kept > 0:
            found.append(Held(name, weights.shape_of(parameter), begin, kept, owners[number], start))
    return found


def refresh(optimizer: Any, stage: int) -> None:
    """Parameters from the masters, on all ranks; collective.

    Stage 3: between `checkpoint_event_prologue` and `checkpoint_event_epilogue`, which gathers those it keeps whole.
    """
    with torch.no_grad():
        if stage < 3:
            optimizer.update_lp_params()
            return
        for number in range(len(optimizer.fp16_groups)):
            optimizer._reassign_or_swap_out_partitioned_parameters(number)


def unlink(optimizer: Any, parameters: Mapping[str, torch.nn.Parameter]) -> None:
    """Stages 1 and 2 keep views of optimizer state beside it: forgets them, they are made anew at the next step."""
    if hasattr(optimizer, "_hp_optimizer_states_linked"):
        optimizer._hp_optimizer_states_linked = False
        for parameter in parameters.values():
            mapping: Any = getattr(parameter, "_hp_mapping", None)
            if mapping is not None:
                mapping.optim_fragment = None
