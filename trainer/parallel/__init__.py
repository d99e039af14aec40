"""Ranks, how they find each other, and the engines that spread a model over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from trainer.config import Config

if TYPE_CHECKING:
    import torch

    from trainer.parallel.engine import Engine
    from trainer.parallel.world import World
    from trainer.precision.resolved import Resolved


def kind(config: Config) -> str:
    """ddp or deepspeed: parallel.engine, or what `auto` comes to (ddp for stage 0, deepspeed above)."""
    if config.parallel.engine == "auto":
        return "deepspeed" if config.parallel.zero > 0 else "ddp"
    return config.parallel.engine


def build(config: Config, resolved: Resolved, world: World, make_model: Callable[[], torch.nn.Module]) -> Engine:
    """The engine that parallel.engine and parallel.zero ask for, with a fresh model and optimizer. Collective.

    make_model: a model whose `backend` attribute is its precision back end; on the CPU in fp32, the same on every
    rank. Raises TrainerError for combinations that cannot work,
    before the model is made.
    """
    from trainer.parallel import ddp, zero, zero_settings

    chosen = kind(config)
    if chosen == "deepspeed":
        zero_settings.check(config, resolved.name)
    model: Any = make_model()
    make_optimizer = _optimizer(config, chosen, world)
    if chosen == "deepspeed":
        return zero.Zero(config, resolved.name, world, model, model.backend, make_optimizer)
    return ddp.DDP(config, world, model, model.backend, make_optimizer)


def _optimizer(config: Config, chosen: str, world: World) -> Callable[[Iterable[tuple[str, Any]]], Any]:
    def make(named: Iterable[tuple[str, Any]]) -> Any:
        import torch

        from trainer import optim

        hosted = config.parallel.offload in ("optimizer", "both")  # its tensors will lie in host memory
        device = torch.device("cpu") if hosted else world.device
        zero = config.parallel.zero if chosen == "deepspeed" else 0
        return optim.build(named, config.optim, chosen, device, zero, world.rank, world.size)

    return make
