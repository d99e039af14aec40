"""Optimizers, schedules, the curriculum, and the micro-batch that fits. Importing it does not import torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from trainer import config
from trainer.errors import TrainerError

if TYPE_CHECKING:
    import torch


def build(
    named_parameters: Iterable[tuple[str, torch.nn.Parameter]],
    optim: config.Optim,
    engine: str,
    device: torch.device,
    zero: int = 0,
    rank: int = 0,
    ranks: int = 1,
) -> torch.optim.Optimizer:
    """The optimizer that `optim.name` asks for, over groups that carry "kind" and "base_lr".

    named_parameters: canonical names (`blocks.0.attention.qkv.weight`), tied parameters once.
    engine: ddp or deepspeed, with its ZeRO stage `zero`. device: where the parameters and their gradients are.
    ranks above 1 (all of the default process group) share the work of Muon; the result is the same to the bit, so it
    may change on resume. Raises TrainerError for an unknown name, and for Muon where ZeRO cuts the matrices to pieces.
    """
    if optim.name == "adamw":
        from trainer.optim.adamw import adamw
        from trainer.optim.groups import adamw_groups

        return adamw(adamw_groups(named_parameters, optim), optim, device)
    if optim.name != "muon":
        raise TrainerError(f"optim.name is {optim.name!r}", "choose one of adamw, muon")
    if zero > 0:
        # ZeRO hands the optimizer flat pieces of fp32 masters; half a matrix has no singular values of the whole
        raise TrainerError(
            f"Muon needs whole matrices, ZeRO stage {zero} of {engine} cuts them into flat pieces",
            "set parallel.engine=ddp (or parallel.zero=0), or optim.name=adamw",
        )
    from trainer.optim.groups import muon_groups
    from trainer.optim.muon import MuonAdamW

    return MuonAdamW(muon_groups(named_parameters, optim), optim, device, rank, ranks)
