"""All of training in one object: what it holds is what a checkpoint keeps, and nothing else decides the next step."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trainer.config import Config
from trainer.data.corpus import Position
from trainer.errors import TrainerError
from trainer.model import GPT

FORMAT = 1


@dataclass
class State:
    """Model, optimizer, steps done, tokens seen, place in the data. The random generators are torch's and Python's."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    position: Position
    step: int = 0
    tokens: int = 0

    def write(self, folder: Path) -> None:
        """Writes three files into an existing folder."""
        torch.save(self.model.state_dict(), folder / "model.pt")
        torch.save(self.optimizer.state_dict(), folder / "optimizer.pt")
        progress = {
            "format": FORMAT,
            "step": self.step,
            "tokens": self.tokens,
            "position": asdict(self.position),
            "random": _random_states(),
        }
        torch.save(progress, folder / "progress.pt")

    def read(self, folder: Path) -> None:
        """Takes over everything from a folder made by `write`, the random generators included.

        Raises TrainerError when the folder belongs to another kind of model or a newer format.
        """
        progress = _load(folder / "progress.pt")
        if progress["format"] != FORMAT:
            raise TrainerError(f"{folder} has checkpoint format {progress['format']}", "resume it with a newer trainer")
        try:
            self.model.load_state_dict(_load(folder / "model.pt"))
            self.optimizer.load_state_dict(_load(folder / "optimizer.pt"))
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise TrainerError(f"{folder} does not fit this model: {reason}", "give another --run folder") from None
        self.step = progress["step"]
        self.tokens = progress["tokens"]
        self.position = Position(**progress["position"])
        _set_random_states(progress["random"])


def fresh(config: Config, device: torch.device) -> State:
    """The state before the first step, decided by the config alone."""
    random.seed(config.train.seed)
    torch.manual_seed(config.train.seed)
    model = GPT(config.model).to(device)
    return State(model, _optimizer(model, config), Position())


def _optimizer(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices only, as in GPT-3."""
    settings = config.optim
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.lr, betas=(settings.beta1, settings.beta2))


def _random_states() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"python": random.getstate(), "torch": torch.get_rng_state(), "cuda": cuda}


def _set_random_states(states: dict[str, Any]) -> None:
    version, inner, gauss = states["python"]
    random.setstate((version, tuple(inner), gauss))
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)
