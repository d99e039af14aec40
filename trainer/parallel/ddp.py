# mypy: allow-subclassing-any
"""Every rank holds the whole model in fp32; gradients are averaged by DistributedDataParallel. One rank needs none."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Any

import torch

from trainer.checkpoint.piece import Piece, Stored
from trainer.config import Config
from trainer.parallel import extra, gradient, held, scaling, weights
from trainer.parallel.world import World

MakeOptimizer = Callable[[Iterable[tuple[str, torch.nn.Parameter]]], torch.optim.Optimizer]


class Settling(torch.nn.Module):
    """The model; called without arguments, the sum of its parameters.

    After its first backward pass DistributedDataParallel fills its buckets anew, in the order in which gradients came.
    Where a gradient lies decides in which order the ranks' are added, so with three or more of them the first step
    after a resume would differ in its last bits from that of a run that went on. And a gradient that lies in its bucket
    is divided by the number of ranks, one that does not yet is multiplied by its reciprocal (reducer.cpp,
    mark_variable_ready_dense), which is another number for three ranks. Two passes that cost next to nothing settle
    both before the first step of every attempt.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *arguments: Any) -> Any:
        """As the model's own."""
        if arguments:
            return self.model(*arguments)
        return torch.stack([parameter.sum() for parameter in self.parameters()]).sum()


class DDP:
    """Engine (see engine.py) without sharding: one process, or data parallel ones.

    The model's state and the optimizer's are equal on all ranks; each gives an equal share of them to a checkpoint.
    """

    kind = "ddp"
    stage = 0

    def __init__(
        self, config: Config, world: World, model: torch.nn.Module, backend: Any, make_optimizer: MakeOptimizer
    ) -> None:
        self.world = world
        self.limit = config.optim.clip
        self.model = model.to(world.device)
        self.backend = backend
        self.step_number = 0  # optimizer steps tried; the back end's warm-up counts them
        self._parameters = weights.named(self.model)
        self.parameters = weights.size(self._parameters.values())
        self._optimizer = make_optimizer(self._parameters.items())
        self._scaler = backend.scaler()
        self._norm: float | None = None
        self._whole = self._wrap(config.parallel.bucket_mb) if world.size > 1 else self.model

    def _wrap(self, bucket: int) -> torch.nn.Module:
        devices = [self.world.device] if self.world.device.type == "cuda" else None
        parallel = torch.nn.parallel.DistributedDataParallel
        # torch 2.13 has another name for it, and warns of the old one
        renamed = "forward_sync_buffers" in inspect.signature(parallel.__init__).parameters
        # buffers of ours are constants; FP8 scales are reduced by their own back end
        left_alone = {"forward_sync_buffers" if renamed else "broadcast_buffers": False}
        whole = parallel(
            Settling(self.model),
            device_ids=devices,
            bucket_cap_mb=bucket,
            gradient_as_bucket_view=True,
            **left_alone,
        )
        for _ in range(2):  # fills the buckets anew; lays the gradients into them
            whole().backward()
            self._forget()
        return whole

    @property
    def loss_scale(self) -> float | None:
        """What losses are multiplied by against fp16's underflow; None without a scaler."""
        return float(self._scaler.get_scale()) if self._scaler else None

    def micro(self, inputs: torch.Tensor, targets: torch.Tensor, scale: float, last: bool) -> torch.Tensor:
        """See Engine. Gradients travel between the ranks during the last micro-batch's backward only."""
        device = self.world.device
        inputs, targets = inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)
        held = nullcontext() if last or self.world.size == 1 else self._whole.no_sync()
        with held:
            with self.backend.autocast(self.step_number):
                loss = self._whole(inputs, targets)
            # DistributedDataParallel divides by the number of ranks; the protocol wants the sum.
            weighted = loss * (scale * self.world.size)
            (self._scaler.scale(weighted) if self._scaler else weighted).backward()
        return loss.detach().float()

    def attempt(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        """See Engine. Not the last of a step: nothing waits for a rank whose memory ran out."""
        try:
            self.micro(inputs, targets, 1.0 / targets.numel(), False)
        finally:
            self._forget()

    def norm(self) -> float:
        """See Engine; after it the gradient is unscaled."""
        if self._norm is None:
            if self._scaler:
                self._scaler.unscale_(self._optimizer)
            self._norm = float(gradient.squares(self._gradients()).sqrt())
        return self._norm

    def step(self, lr_scale: float) -> None:
        """See Engine."""
        norm = self.norm()
        if not gradient.finite(norm):
            return self.drop()
        gradient.clip(self._gradients(), norm, self.limit)
        for group in self._optimizer.param_groups:
            group["lr"] = group["base_lr"] * lr_scale
        if self._scaler:
            self._scaler.step(self._optimizer)
        else:
            self._optimizer.step()
        return self._end()

    def drop(self) -> None:
        """See Engine."""
        self.norm()  # the scaler learns from the unscaled gradient whether its scale was too large
        self._end()

    def _end(self) -> None:
        if self._scaler:
            self._scaler.update()
        self._forget()
        self.step_number += 1

    def _forget(self) -> None:
        # Views into DistributedDataParallel's buckets stay: dropped ones would be allocated a second time, beside the
        # buckets, by the micro-batches before the last.
        self._optimizer.zero_grad(set_to_none=self.world.size == 1)
        self._norm = None

    def _gradients(self) -> list[torch.Tensor]:
        return [parameter.grad for parameter in self._parameters.values() if parameter.grad is not None]

    def pieces(self) -> list[Piece]:
        """See Engine. Nothing but `step` and `fill` writes to parameters and moments: `norm` and the fp16 scaler change
        gradients only, DistributedDataParallel its buckets."""
        return held.pieces(held.share(self._owners(), self.world.rank, self.world.size), self._optimizer.state)

    def buffers(self) -> dict[str, torch.Tensor]:
        """See Engine."""
        return extra.given(self.model, self.backend) if self.world.first else {}

    def small(self) -> dict[str, Any]:
        """See Engine."""
        return {"step": self.step_number, "scaler": scaling.of_torch(self._scaler)}

    def fill(self, stored: Stored, small: Mapping[str, Any]) -> None:
        """See Engine. Every rank reads all of it."""
        owners = self._owners()
        held.check({name: tuple(value.shape) for name, value in self._parameters.items()}, owners, stored)
        held.fill(owners, held.share(owners, 0, 1), self._optimizer.state, stored)
        extra.taken(self.model, self.backend, stored)
        if self._scaler and self._norm is not None:
            self._scaler.update()  # it remembers a gradient as unscaled until then
        scaling.to_torch(self._scaler, small["scaler"])
        self.step_number = int(small["step"])
        self._forget()
        self.world.barrier()

    def _owners(self) -> list[held.Owner]:
        return held.whole(self._parameters, self._optimizer.param_groups)

    def close(self) -> None:
        """See Engine."""
        self._optimizer.zero_grad(set_to_none=True)
        self._whole = self.model
