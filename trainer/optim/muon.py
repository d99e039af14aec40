# mypy: allow-subclassing-any
"""Muon for the blocks' matrices and AdamW for the rest, as one torch optimizer with one state_dict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trainer import config
from trainer.optim.adamw import adamw
from trainer.optim.orthogonal import muon_update
from trainer.optim.share import Share


class MuonAdamW(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled decay on groups of kind "muon"; torch's AdamW on the others.

    The momentum is whole on every rank, so a checkpoint of one rank serves any number of them. With several ranks each
    orthogonalises its share of the matrices, and all gather the results; gradients must be the same on all of them, as
    they are after DDP's reduction. A parameter without a gradient stays as it is.

    Works with torch.amp.GradScaler, which skips the whole step when a gradient is not finite.
    """

    def __init__(
        self, groups: list[dict[str, Any]], optim: config.Optim, device: torch.device, rank: int = 0, ranks: int = 1
    ) -> None:
        others = [group for group in groups if group["kind"] != "muon"]
        self._adamw = adamw(others, optim, device) if others else None
        self._share = Share(rank, ranks)
        ours = self._adamw.param_groups if self._adamw else []
        super().__init__([*ours, *(group for group in groups if group["kind"] == "muon")], {"lr": optim.muon_lr})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both. Gives back the closure's loss, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                if group["kind"] == "muon":
                    self._muon(group)
        if self._adamw is not None:
            # load_state_dict replaces both objects, so they are handed over anew each time
            self._adamw.param_groups = [group for group in self.param_groups if group["kind"] != "muon"]
            self._adamw.state = self.state
            self._adamw.step()
        return loss

    def _muon(self, group: dict[str, Any]) -> None:
        members = [number for number, one in enumerate(group["params"]) if one.grad is not None]
        parameters = [group["params"][number] for number in members]
        parts = [group["parts"][number] for number in members]
        if not parameters:
            return
        means = self._means(parameters, group["momentum"])
        torch._foreach_mul_(parameters, 1.0 - group["lr"] * group["weight_decay"])

        def compute(number: int) -> Tensor:
            # Nesterov: the gradient, moved `momentum` of the way to its running mean
            gradient = parameters[number].grad
            return muon_update(gradient.lerp(means[number], group["momentum"]), parts[number])

        def apply(number: int, update: Tensor) -> None:
            parameters[number].add_(update.to(parameters[number].dtype), alpha=-group["lr"])

        self._share.each(parameters, compute, apply)

    def _means(self, parameters: list[Tensor], momentum: float) -> list[Tensor]:
        """The running means of the gradients, brought up to date."""
        for parameter in parameters:
            if "momentum" not in self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        means = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(means, [parameter.grad for parameter in parameters], 1.0 - momentum)
        return means
