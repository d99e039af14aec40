"""All of training in one object: what it holds is what a checkpoint keeps, and nothing else decides the next step."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from trainer.errors import TrainerError
from trainer.parallel.engine import Engine
from trainer.parallel.world import World
from trainer.run.guards import Watch

FORMAT = 2
PROGRESS = "progress.json"
APART = 1_000_003  # between the seeds of two steps: more than there are ranks


@dataclass
class Progress:
    """Where a run is, in numbers that are the same on all ranks."""

    step: int = 0  # steps done, skipped ones included
    samples: int = 0  # windows read; the place in the data
    tokens: int = 0  # tokens trained on
    best_loss: float | None = None  # validation, nats per token
    best_step: int = 0
    waited: int = 0  # evaluations since the best
    dollars: float = 0.0
    micro: dict[str, int] = field(default_factory=dict)  # what was measured for -> windows
    watch: Watch = field(default_factory=Watch)


@dataclass
class State:
    """The engine (model, optimizer, loss scale), the progress, and the random generators of torch and Python."""

    engine: Engine
    world: World
    progress: Progress = field(default_factory=Progress)

    def write(self, folder: Path) -> None:
        """Writes into an existing folder that all ranks see; collective."""
        self.engine.write(folder)
        torch.save(_random_states(self._cuda), folder / f"random-{self.world.rank:05d}.pt")
        if self.world.first:
            content = {"format": FORMAT, "world": self.world.size, **asdict(self.progress)}
            (folder / PROGRESS).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def read(self, folder: Path) -> None:
        """Takes over everything from a folder made by `write`, the random generators included; collective.

        Raises TrainerError when the folder belongs to another kind of model, world size or format.
        """
        content = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            raise TrainerError(f"{folder} has another checkpoint format", "resume it with the trainer that made it")
        world = content.pop("world")
        self.engine.read(folder)
        self.progress = Progress(**{**content, "watch": Watch(**content["watch"])})
        own = folder / f"random-{self.world.rank:05d}.pt"
        if world == self.world.size and own.exists():
            _set_random_states(torch.load(own, map_location="cpu", weights_only=True), self._cuda)
        else:  # not those of the run's first steps again
            seed(torch.initial_seed() + APART * self.progress.step, 0)

    @property
    def _cuda(self) -> bool:
        return bool(self.world.device.type == "cuda")


def seed(number: int, rank: int) -> None:
    """Seeds Python and torch; rank 0 draws what a single process would, the others draw something else."""
    random.seed(number + rank)
    torch.manual_seed(number + rank)


def _random_states(cuda: bool) -> dict[str, Any]:
    """cuda: training is on a GPU; asking one that is there but not in use would open it."""
    own = torch.cuda.get_rng_state() if cuda else None
    return {"python": random.getstate(), "torch": torch.get_rng_state(), "cuda": own}


def _set_random_states(states: dict[str, Any], cuda: bool) -> None:
    version, inner, gauss = states["python"]
    random.setstate((version, tuple(inner), gauss))
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and cuda:
        torch.cuda.set_rng_state(states["cuda"])
