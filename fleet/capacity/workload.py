"""What is asked of a plan: the training as such, before it is decided on which GPUs and cut how."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from fleet.capacity.shape import Shape
from profiles.errors import WrongInput

MOST_LENGTH = 4 * 2**20  # tokens; beyond anything published
MOST_BATCH = 2**24  # sequences
MOST_PARAMETERS = 5e12


@dataclass(frozen=True, slots=True)
class Workload:
    """A model and how it is to be trained; None is for the planner to choose.

    length: tokens of a sequence; batch: sequences in one optimizer step over all GPUs; micro_batch: sequences at once
    on one GPU; precision: of a profile, or auto.
    """

    shape: Shape
    length: int
    batch: int
    precision: str = "auto"
    optimizer: str = "adamw"
    micro_batch: int | None = None
    zero: int | None = None
    offload: str = "none"
    checkpointing: str | None = None
    loss_chunk: int = 0
    attention: str = "te"  # what the trainer takes by itself in an NGC image
    compile: bool = True
    between: str | None = None  # nodes: infiniband, ethernet; None: what machines with such a GPU usually have

    @property
    def step_tokens(self) -> int:
        """Tokens of one optimizer step."""
        return self.batch * self.length

    def with_(self, **changes: Any) -> Workload:
        """Another one, checked."""
        other = dataclasses.replace(self, **changes)
        check(other)
        return other


def check(workload: Workload) -> None:
    """Raises WrongInput, one line with the numbers, for a training that cannot be."""
    shape = workload.shape
    sizes = {
        "layers": shape.layers,
        "width": shape.width,
        "heads": shape.heads,
        "vocab": shape.vocab,
        "sequence length": workload.length,
        "batch": workload.batch,
    }
    for name, value in sizes.items():
        if value < 1:
            raise WrongInput(f"{name} is {value}", f"give a {name} of at least 1")
    if workload.micro_batch is not None and workload.micro_batch < 1:
        raise WrongInput(f"the micro-batch is {workload.micro_batch}", "give at least 1, or leave it out: what fits")
    if workload.length > MOST_LENGTH:
        raise WrongInput(f"a sequence of {workload.length:,} tokens", f"give at most {MOST_LENGTH:,}")
    if workload.batch > MOST_BATCH:
        raise WrongInput(f"a batch of {workload.batch:,} sequences", f"give at most {MOST_BATCH:,}")
    if shape.learned_positions and workload.length > shape.context:
        raise WrongInput(
            f"sequences of {workload.length:,} tokens, but {shape.name} has {shape.context:,} positions",
            f"give at most {shape.context:,}, or a model with a larger context",
        )
    if shape.heads % max(1, shape.kv_heads):
        raise WrongInput(
            f"{shape.heads} heads do not divide among {shape.kv_heads} key-value heads", "choose a divisor of the heads"
        )
    if workload.optimizer == "muon" and workload.zero:
        raise WrongInput("Muon's state cannot be sharded", "plan with --optimizer adamw, or without --zero")
    if workload.offload != "none" and workload.zero == 0:
        raise WrongInput(f"offload {workload.offload} without ZeRO", "add --zero 1, 2 or 3 (parameters need 3)")
    if workload.offload in ("parameters", "both") and workload.zero not in (None, 3):
        raise WrongInput(f"offload {workload.offload} needs ZeRO stage 3", "--zero 3")
