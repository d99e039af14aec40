# mypy: allow-subclassing-any
"""Every rank holds the whole model in fp32; gradients are averaged by DistributedDataParallel. One rank needs none."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from trainer.config import Config
from trainer.errors import REFUSED, TrainerError
from trainer.parallel import gradient, weights
from trainer.parallel.engine import MODEL_FILE
from trainer.parallel.world import World

OPTIMIZER_FILE = "optimizer.pt"

MakeOptimizer = Callable[[Iterable[tuple[str, torch.nn.Parameter]]], torch.optim.Optimizer]


class Settling(torch.nn.Module):
    """The model; called without arguments, the sum of its parameters.

    After its first backward pass DistributedDataParallel fills its buckets anew, in the order in which gradients came.
    Where a gradient lies decides in which order the ranks' are added, so with three or more of them the first step
    after a resume would differ in its last bits from that of a run that went on. A pass that costs next to nothing
    settles the buckets before the first step of every attempt.
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

    The model's state and the optimizer's are equal on all ranks, so rank 0 writes them and any number of ranks reads
    them.
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
        whole().backward()
        self._optimizer.zero_grad(set_to_none=True)
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
            self._optimizer.zero_grad(set_to_none=True)

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
        # Views into DistributedDataParallel's buckets stay: dropped ones would be allocated a second time, beside the
        # buckets, by the micro-batches before the last.
        self._optimizer.zero_grad(set_to_none=self.world.size == 1)
        self._norm = None
        self.step_number += 1

    def _gradients(self) -> list[torch.Tensor]:
        return [parameter.grad for parameter in self._parameters.values() if parameter.grad is not None]

    def write(self, folder: Path) -> None:
        """See Engine: model.pt and optimizer.pt, by rank 0."""
        if self.world.first:
            weights.save(folder / MODEL_FILE, self._cpu(), self._others())
            state = {
                "optimizer": self._optimizer.state_dict(),
                "scaler": self._scaler.state_dict() if self._scaler else None,
                "step": self.step_number,
            }
            torch.save(weights.of_one_making(state), folder / OPTIMIZER_FILE)
        self.world.barrier()

    def read(self, folder: Path) -> None:
        """See Engine; the number of ranks may be another than that which wrote."""
        if not (folder / OPTIMIZER_FILE).exists():
            raise TrainerError(
                f"{folder} was not written by ddp", "resume with parallel.engine=deepspeed and its stage", REFUSED
            )
        values, extra = weights.load(folder / MODEL_FILE)
        weights.check(values, self._parameters, folder / MODEL_FILE)
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(values[name])
        restore_others(self.model, self.backend, extra)
        state = torch.load(folder / OPTIMIZER_FILE, map_location="cpu", weights_only=True)
        load_optimizer(self._optimizer, state["optimizer"])
        if self._scaler and state["scaler"]:
            self._scaler.load_state_dict(state["scaler"])
        self.step_number = state["step"]
        self._optimizer.zero_grad(set_to_none=True)
        self._norm = None
        self.world.barrier()

    def full_parameters(self) -> dict[str, torch.Tensor] | None:
        """See Engine."""
        return self._cpu() if self.world.first else None

    def close(self) -> None:
        """See Engine."""
        self._optimizer.zero_grad(set_to_none=True)
        self._whole = self.model

    def _cpu(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().float().cpu().clone() for name, value in self._parameters.items()}

    def _others(self) -> dict[str, Any]:
        return others(self.model, self.backend)


def others(model: torch.nn.Module, backend: Any) -> dict[str, Any]:
    """Persistent buffers and the back end's extra state under canonical names, as the back end wants them saved."""
    known = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    state = {weights.canonical(name): value for name, value in model.state_dict().items() if name not in known}
    kept: dict[str, Any] = backend.before_save(state)
    return {name: value.cpu() if isinstance(value, torch.Tensor) else value for name, value in kept.items()}


def restore_others(model: torch.nn.Module, backend: Any, stored: dict[str, Any]) -> None:
    """Puts back what `others` gave."""
    wanted: dict[str, Any] = backend.after_load(stored)
    state = {name: wanted[weights.canonical(name)] for name in model.state_dict() if weights.canonical(name) in wanted}
    if state:
        with backend.loading():
            model.load_state_dict(state, strict=False)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Takes up the moments but keeps the groups' options: rates, decay and betas are the configuration's."""
    options = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, kept in zip(optimizer.param_groups, options, strict=True):
        group.update(kept)
