"""ZeRO's stages 1 to 3 as they lie in the ranks' optim_states files.

Stages 1 and 2 (runtime/zero/stage_1_and_2.py and runtime/bf16_optimizer.py, state_dict): per parameter group one flat
master, this rank's partition of all its parameters laid end to end; param_slice_mappings says, per parameter of it,
where its part starts and how long it is. The parts of a parameter follow each other from rank to rank.

Stage 3 (runtime/zero/stage3.py, _rigid_state_dict): per sub group one flat master, in which every parameter of the sub
group has ceil(numel / ranks) elements, the last ranks' padded. The sub groups' order is that of param_shapes and of the
optimizer's parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from trainer.after import deepspeed_pickle as pickles
from trainer.after.deepspeed_files import Files, complete
from trainer.after.deepspeed_slices import Flat, Part, Shapes, Slice, damaged, flat, shapes

MASTERS = "single_partition_of_fp32_groups"
MASTERS_3 = "fp32_flat_groups"
BASE = "base_optimizer_state"
OWN = "optimizer_state_dict"


def read(files: Files, model: Mapping[str, Any]) -> Iterator[Part]:
    """Rank by rank its slices, mapped from its file. Raises TrainerError where the files do not fit together."""
    done: dict[str, int] = {}  # elements by parameter, of the ranks before
    groups = shapes(model)
    for rank, file in enumerate(files.optimizers):
        content = pickles.load(file)
        state = content.get(OWN) if isinstance(content, dict) else None
        if not isinstance(state, dict):
            raise damaged(f"{file.name} holds no optimizer state")
        ranks = _ranks(state)
        if rank == 0:
            complete(files, ranks)
        elif ranks != len(files.optimizers):
            raise damaged(f"{file.name} was written by {ranks} ranks, the others by {len(files.optimizers)}")
        if MASTERS_3 in state:
            yield Part(rank, list(_third(state, groups, rank, ranks)), state.get("loss_scaler"))
        elif MASTERS in state:
            yield Part(rank, list(_second(state, done)), state.get("loss_scaler"))
        else:
            raise damaged(f"{file.name} holds no fp32 masters")


def _ranks(state: Mapping[str, Any]) -> int:
    count = state.get("partition_count")
    counts = set(count) if isinstance(count, list) else {count}
    told = next(iter(counts), None)
    if len(counts) != 1 or not isinstance(told, int) or told < 1:
        raise damaged(f"its groups are cut over different numbers of ranks ({count}), as experts are")
    return told


def _second(state: Mapping[str, Any], done: dict[str, int]) -> Iterator[Slice]:
    mappings, masters = state.get("param_slice_mappings"), state[MASTERS]
    if not isinstance(mappings, list) or len(mappings) != len(masters):
        raise damaged("it has no param_slice_mappings: DeepSpeed before 0.8 wrote it")
    for group, (mapping, master) in enumerate(zip(mappings, masters, strict=True)):
        whole = _of_group(state, group, master)
        for name, place in mapping.items():
            begin = done.get(name, 0)
            done[name] = begin + int(place.numel)
            yield whole.cut(str(name), begin, int(place.start), int(place.numel))


def _of_group(state: Mapping[str, Any], group: int, master: Any) -> Flat:
    base = state[BASE]
    if isinstance(base, list):  # elastic checkpoints: a list of states, without padding
        return flat(master, base[group], {"step": state.get("base_optimizer_state_step")})
    options = base["param_groups"][group]
    return flat(master, base["state"].get(options["params"][0], {}), options)


def _third(state: Mapping[str, Any], groups: list[Shapes], rank: int, ranks: int) -> Iterator[Slice]:
    masters, base = state[MASTERS_3], state[OWN]
    options = [(number, group) for group in base["param_groups"] for number in group["params"]]
    if not len(masters) == len(groups) == len(options):
        raise damaged(f"it has {len(masters)} flat tensors for {len(groups)} groups; offloaded to NVMe?")
    for names, master, (number, group) in zip(groups, masters, options, strict=True):
        whole = flat(master, base["state"].get(number, {}), group)
        start = 0
        for name, shape in names.items():
            size = math.prod(shape)
            part = -(-size // ranks)
            length = max(0, min(part, size - rank * part))
            if length:
                yield whole.cut(name, rank * part, start, length)
            start += part
        if start != whole.master.numel():
            raise damaged(f"a flat tensor has {whole.master.numel()} numbers where its parameters need {start}")
