"""One attempt at a run, made ready: every choice is made here, once, before the first step."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trainer import parallel
from trainer.checkpoint.saver import Saver
from trainer.config import Config
from trainer.config.check import batches
from trainer.errors import TrainerError
from trainer.model import attention
from trainer.model.families import sizes_of
from trainer.model.gpt import GPT
from trainer.optim.curriculum import Plan
from trainer.parallel.world import World
from trainer.precision import backend as backends
from trainer.precision import policy
from trainer.precision.machine import look
from trainer.precision.policy import Resolved
from trainer.run.chance import seed
from trainer.run.folder import CHECKPOINTS
from trainer.run.journal import Journal
from trainer.run.resumption import CHANGES
from trainer.run.state import State

COMPUTE = {"fp32": torch.float32, "fp16": torch.float16}  # all others compute attention in bf16


class Source(Protocol):
    """What is trained on: windows of model.context tokens in an order that is a pure function of their number."""

    windows: int  # in one pass over the data
    identity: str  # changes when the data does
    masked: bool  # some targets are -100, so the tokens of a step must be counted

    def micro_batches(self, sample: int, micro: int, length: int) -> Iterator[tuple[Tensor, Tensor]]:
        """This rank's inputs and targets of the step that begins at global window `sample`."""
        ...

    def close(self) -> None:
        """Ends reading ahead."""
        ...


class Work(Protocol):
    """What a run does its steps on: pretraining on a corpus, or fine-tuning on conversations."""

    token_bytes: Any  # UTF-8 bytes per token id, or None

    def source(self, config: Config, world: World) -> Source:
        """The training data of this rank. Raises TrainerError."""
        ...

    def validation(self, config: Config) -> Any:
        """Pairs for trainer.run.evaluate, or None when nothing was held out."""
        ...

    def begin(self, model: nn.Module) -> None:
        """Puts the weights in that a fresh run begins with; those it was made with may stay."""
        ...

    def describe(self) -> dict[str, Any]:
        """What the data is, for the start line."""
        ...

    def close(self) -> None:
        """Ends what reads the data."""
        ...

    def keep(self, folder: Path) -> None:
        """Puts into the run folder what belongs to its model: the tokenizer."""
        ...


@dataclass
class Job:
    """All that the loop works with."""

    config: Config
    folder: Path
    world: World
    precision: Resolved
    attention: attention.Choice
    plan: Plan
    work: Work
    source: Source
    state: State
    journal: Journal
    saver: Saver
    attempts: int = 0  # saves that were tried, the same number on all ranks
    good: int = -1  # the step whose checkpoint is known to be whole; on rank 0
    parent: dict[str, Any] | None = None  # name and manifest hash of the checkpoint before, on rank 0

    @property
    def checkpoints(self) -> Path:
        """Where this run's checkpoints lie."""
        return self.folder / CHECKPOINTS

    @property
    def dollars(self) -> float:
        """Spent by the whole run; the state's own count is for a run whose metrics were lost on the way."""
        return max(self.state.progress.dollars, self.journal.tally.result().dollars)


def make(config: Config, folder: Path, world: World, work: Work, journal: Journal) -> Job:
    """Resolves precision and attention, opens the data and builds the engine; nothing is trained yet.

    Raises TrainerError for what cannot work here, on every rank alike.
    """
    batches(config, world.size)
    deterministic(config)
    machine, compiled = look(world.device.type), config.train.compile
    precision = policy.resolve(config.precision, machine, config.model, trained_by(config), compiled)
    choice = attention.choose(
        config.model.attention,
        world.device.type,
        COMPUTE.get(precision.name, torch.bfloat16),
        sizes_of(config.model).head_dim,
        config.model.dropout,
        sizes_of(config.model).kv_heads != config.model.heads,
    )
    source = work.source(config, world)
    seed(config.train.seed, 0)  # every rank makes the same model
    engine = parallel.build(config, precision, world, factory(config, precision, choice, work))
    seed(config.train.seed, world.rank)
    state = State(engine, world, config.train.seed + world.rank)
    saver = Saver(world.rank, world.size, config.checkpoint.asynchronous)
    return Job(config, folder, world, precision, choice, Plan(config), work, source, state, journal, saver)


def factory(config: Config, precision: Resolved, choice: attention.Choice, work: Work) -> Callable[[], nn.Module]:
    """Makes the model with the weights that a fresh run begins with."""

    def made() -> nn.Module:
        backend = backends.build(precision)
        model = GPT(config.model, backend, choice.name, config.train.checkpointing, config.train.loss_chunk)
        work.begin(model)
        return model

    return made


def trained_by(config: Config) -> str:
    """ddp, or deepspeed with its stage."""
    kind = parallel.kind(config)
    return kind if kind == "ddp" else f"{kind}-{config.parallel.zero}"


def deterministic(config: Config) -> None:
    """Asks torch for kernels that give the same bits each time, where it is wished."""
    if config.train.deterministic:
        # cuBLAS is only deterministic with a fixed workspace (PyTorch notes, "Reproducibility")
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # else every tensor that is about to be written is filled first: memory traffic for nothing
        torch.utils.deterministic.fill_uninitialized_memory = False
    elif torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")


def refuse_other(then: dict[str, Any], now: dict[str, Any], where: Path, allow: Collection[str] = ()) -> None:
    """Raises TrainerError when a run of another identity lies in this folder; names every difference.

    allow: sections that may differ.
    """
    changed = [
        "data.path was another text"
        if (section, key) == ("data", "identity")
        else f"{section}.{key} was {then.get(section, {}).get(key)}, is {value}"
        for section, values in now.items()
        if section not in allow
        for key, value in values.items()
        if then.get(section, {}).get(key) != value
    ]
    if changed:
        parts = {text.partition(".")[0] for text in changed}
        flags = " ".join(f"--allow-change {part}" for part in CHANGES if part in parts)
        hint = "give the old values, or another --run"
        if parts <= {*CHANGES}:
            hint = f"give the old values, another --run, or {flags}"
        raise TrainerError(f"{where} holds another run: {'; '.join(changed)}", hint)


def identity(config: Config, data: str) -> dict[str, Any]:
    """What must not change between two attempts at one run, or the losses would not be one run's.

    data: the identity of the source. Not in it: steps, limits, logging; the attention kernel, micro-batch and number of
    ranks, which change the losses by rounding only.
    """
    values = config.to_json()
    model = {key: value for key, value in values["model"].items() if key not in ("attention", "depth")}
    horizon = {} if config.optim.decay_steps else {"steps": config.train.steps}
    return {
        "model": model,
        "optim": values["optim"],
        "data": {"identity": data, "shuffle_shards": values["data"]["shuffle_shards"]},
        "train": {**{key: values["train"][key] for key in ("batch", "seed")}, **horizon},
        "curriculum": {"stages": [{**stage, "micro_batch": 0} for stage in values["curriculum"]]},
    }
