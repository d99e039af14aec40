# mypy: allow-subclassing-any
"""DeepSpeed's stages: 0 holds all on every rank, 1 cuts up optimizer state, 2 gradients too, 3 parameters too."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist

from trainer.checkpoint.piece import Piece, Stored
from trainer.config import Config
from trainer.parallel import extra, gradient, held, scaling, weights, zero_held, zero_settings, zero_state
from trainer.parallel.ddp import MakeOptimizer
from trainer.parallel.world import World


class Root(torch.nn.Module):
    """The model inside the back end's autocast.

    DeepSpeed switches off a torch.autocast that it finds around its forward (runtime/torch_autocast.py), and with it
    whatever depends on it, without an error. So the context is entered within.
    """

    def __init__(self, inner: torch.nn.Module, backend: Any) -> None:
        super().__init__()
        self.inner = inner
        self.backend = backend
        self.step_number = 0

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """As the model's own."""
        with self.backend.autocast(self.step_number):
            return self.inner(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        """What this module does not have, the model may: its shape, its context."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "inner":
                raise
            return getattr(self.inner, name)


class Gate:
    """Stands before an optimizer's step. Shut, DeepSpeed goes through its whole step and changes no parameter.

    Its own skipping of a step covers overflows only, and not in every stage and number type.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._step = optimizer.step
        self._shut = False
        optimizer.step = self

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return None if self._shut else self._step(*arguments, **named)

    @contextlib.contextmanager
    def shut(self) -> Iterator[None]:
        """Within it steps are not taken."""
        self._shut = True
        try:
            yield
        finally:
            self._shut = False


class Zero:
    """Engine (see engine.py) on DeepSpeed, stages 0 to 3, optimizer and parameters on the GPU or in host memory.

    model: on the CPU or the rank's device, equal on all ranks or not: rank 0's parameters are taken.
    precision: the resolved name.
    """

    kind = "deepspeed"

    def __init__(
        self,
        config: Config,
        precision: str,
        world: World,
        model: torch.nn.Module,
        backend: Any,
        make_optimizer: MakeOptimizer,
    ) -> None:
        zero_settings.check(config, precision)
        deepspeed = zero_settings.load(world, precision)
        world.connect()
        self.world, self.backend = world, backend
        self.stage = config.parallel.zero
        self.limit = config.optim.clip
        self._fp16 = precision == "fp16"
        self.model = Root(model, backend)
        self._parameters = weights.named(self.model)
        self.parameters = weights.size(self._parameters.values())
        exact = zero_state.shared(self._parameters, world)
        self._optimizer = make_optimizer(self._parameters.items())
        self._gate = Gate(self._optimizer)
        with contextlib.redirect_stdout(sys.stderr):
            self._engine, *_ = deepspeed.initialize(
                model=self.model, optimizer=self._optimizer, config=zero_settings.settings(config, precision, world)
            )
        if zero_settings.shrinks(config, precision):
            zero_state.set_masters(
                self._parameters, exact, world.rank
            )  # DeepSpeed made them from the rounded parameters
        self._norm: float | None = None

    @property
    def step_number(self) -> int:
        """Optimizer steps tried; the back end's warm-up counts them."""
        return self.model.step_number

    @step_number.setter
    def step_number(self, number: int) -> None:
        self.model.step_number = number

    @property
    def loss_scale(self) -> float | None:
        """What losses are multiplied by against fp16's underflow; None without a scaler."""
        return float(self._engine.optimizer.loss_scale) if self._fp16 else None

    def micro(self, inputs: torch.Tensor, targets: torch.Tensor, scale: float, last: bool) -> torch.Tensor:
        """See Engine."""
        device = self.world.device
        inputs, targets = inputs.to(device, non_blocking=True), targets.to(device, non_blocking=True)
        self._engine.set_gradient_accumulation_boundary(last)
        loss = self._engine(inputs, targets)
        # DeepSpeed divides by the number of ranks; the protocol wants the sum.
        self._engine.backward(loss * (scale * self.world.size), scale_wrt_gas=False)
        return loss.detach().float()

    def attempt(self, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        """See Engine. As the last of a step: before a boundary DeepSpeed's step does nothing and the gradient stays."""
        before = self.step_number
        self.micro(inputs, targets, 1.0 / targets.numel(), True)
        self.drop()
        self.step_number = before

    def norm(self) -> float:
        """See Engine."""
        if self._norm is None:
            pieces = zero_state.gradients(self._engine.optimizer, self.stage, self._parameters.values())
            squares = gradient.squares(pieces).to(self.world.device)
            if self.stage > 0 and self.world.size > 1:
                dist.all_reduce(squares)  # every rank has its own piece; at stage 0 the whole
            self._norm = float(squares.sqrt()) / (self.loss_scale or 1.0)
        return self._norm

    def step(self, lr_scale: float) -> None:
        """See Engine. DeepSpeed clips, by the same rule as ours."""
        if not gradient.finite(self.norm()):
            return self.drop()
        for group in self._optimizer.param_groups:
            group["lr"] = group["base_lr"] * lr_scale
        return self._end()

    def drop(self) -> None:
        """See Engine. DeepSpeed's fp16 scaler sees an overflow as in any step."""
        with self._gate.shut():
            self._end()
        zero_state.forget(self._engine.optimizer)

    def _end(self) -> None:
        self._engine.step()
        self._norm = None
        self.step_number += 1

    def pieces(self) -> list[Piece]:
        """See Engine. Only DeepSpeed's step writes to the fp32 partitions and their moments, in every stage: forward,
        backward and evaluation gather into other memory, and partition without copying back (partition_parameters.py,
        _partition_param: has_been_updated is False); gradients and loss scaling have tensors of their own, offloaded
        ones too. At stage 3 in fp32 the partitions are the parameters themselves, which changes nothing of that.
        """
        _, own = self._held() if self.stage else self._whole(self.world.rank, self.world.size)
        return held.pieces(own, self._optimizer.state)

    def buffers(self) -> dict[str, torch.Tensor]:
        """See Engine."""
        return extra.given(self.model, self.backend) if self.world.first else {}

    def small(self) -> dict[str, Any]:
        """See Engine."""
        scaler = scaling.of_deepspeed(self._engine.optimizer.loss_scaler) if self._fp16 else None
        return {"step": self.step_number, "scaler": scaler}

    def fill(self, stored: Stored, small: Mapping[str, Any]) -> None:
        """See Engine. Ranks of stages 1 to 3 read what they hold and get the rest of the parameters from each other."""
        optimizer = self._engine.optimizer
        shapes = {name: weights.shape_of(value) for name, value in self._parameters.items()}
        owners, own = self._held() if self.stage else self._whole(0, 1)
        held.check(shapes, owners, stored)
        if self.stage == 3:
            optimizer.checkpoint_event_prologue()
        held.fill(owners, own, self._optimizer.state, stored)
        zero_held.unlink(optimizer, self._parameters)
        if self.stage:
            zero_held.refresh(optimizer, self.stage)
        if self.stage == 3:
            optimizer.checkpoint_event_epilogue()
        extra.taken(self.model, self.backend, stored)
        if self._fp16:
            scaling.to_deepspeed(optimizer.loss_scaler, small["scaler"])
        zero_state.clear(optimizer, self.stage)
        self.step_number = int(small["step"])
        self._norm = None
        self.world.barrier()

    def _whole(self, rank: int, ranks: int) -> tuple[list[held.Owner], list[held.Held]]:
        owners = held.whole(self._parameters, self._optimizer.param_groups)
        return owners, held.share(owners, rank, ranks)

    def _held(self) -> tuple[list[held.Owner], list[held.Held]]:
        return zero_held.held(self._engine.optimizer, self.stage, self._parameters, self.world.rank)

    def close(self) -> None:
        """See Engine."""
        engine = self.__dict__.pop("_engine", None)
        if engine is not None and hasattr(engine, "destroy"):  # not in old releases
            engine.destroy()
