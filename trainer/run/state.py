"""All of training in one object: what it holds is what a checkpoint keeps, and nothing else decides the next step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trainer.checkpoint import manifest
from trainer.checkpoint.piece import BUFFER, Piece
from trainer.checkpoint.tensors import Checkpoint
from trainer.parallel.engine import Engine
from trainer.parallel.world import World
from trainer.run import chance
from trainer.run.guards import Watch


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

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Progress:
        """What `asdict` gave."""
        return cls(**{**content, "watch": Watch(**content["watch"])})


@dataclass
class State:
    """The engine (model, optimizer, loss scale), the progress, and the random generators."""

    engine: Engine
    world: World
    seed: int = 0  # of this rank: train.seed and its number
    progress: Progress = field(default_factory=Progress)

    def pieces(self) -> list[Piece]:
        """This rank's tensors for a checkpoint: live, but for the model's buffers. Not collective."""
        buffers = self.engine.buffers()
        own = [Piece(BUFFER, name, tuple(value.shape), 0, value.flatten()) for name, value in buffers.items()]
        return [*self.engine.pieces(), *own]

    def random(self) -> bytes:
        """This rank's generators, as the checkpoint's file of them."""
        return chance.dump(self._cuda)

    def facts(self) -> dict[str, Any]:
        """What the manifest keeps of the state; equal on all ranks."""
        progress, engine = self.progress, self.engine
        return {
            "samples": progress.samples,
            "tokens": progress.tokens,
            "best": {"loss": progress.best_loss, "step": progress.best_step},
            "progress": asdict(progress),
            "engine": {"kind": engine.kind, "zero": engine.stage, "world": self.world.size, **engine.small()},
            "random": self.world.size,
        }

    def read(self, folder: Path, optimizer: bool = True) -> None:
        """Takes over everything from a verified checkpoint, the random generators included; collective.

        optimizer: False begins its state anew, for another kind of optimizer. Raises TrainerError when the
        checkpoint belongs to another model.
        """
        content = manifest.read(folder)
        stored = Checkpoint(folder)
        self.engine.fill(stored if optimizer else stored.without_optimizer(), content["engine"])
        self.progress = Progress.from_json(content["progress"])
        if content["random"] == self.world.size:
            chance.restore((folder / chance.file_of(self.world.rank)).read_bytes(), self._cuda)
        else:
            chance.renew(self.seed, self.progress.step)

    @property
    def _cuda(self) -> bool:
        return bool(self.world.device.type == "cuda")
