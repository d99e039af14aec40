"""One way to train a shape: on which GPUs, in what precision, cut and kept how. Memory and speed are computed of it."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.capacity.shape import Shape
from profiles.gpus import Gpu


@dataclass(frozen=True, slots=True)
class Adapter:
    """Low-rank fine-tuning: only these small matrices have gradients and optimizer state.

    targets: of q, k, v, o, mlp, head; quantised: the frozen weights are kept in 4 bits (QLoRA, arXiv 2305.14314).
    """

    rank: int = 8
    targets: tuple[str, ...] = ("q", "v")
    quantised: bool = False


@dataclass(frozen=True, slots=True)
class Setup:
    """Resolved, nothing is left to choose. Sizes are per data-parallel rank unless they say otherwise.

    engine: whose bookkeeping of weights, gradients and masters (memory/engines.py): ddp and zero are the trainer's.
    precision: as in a profile (bf16, fp8-current, mxfp8, ...), also fp8-rowwise, which others publish.
    micro_batch: sequences of `length` tokens at once; accumulation: micro-batches in one optimizer step.
    checkpointing: of activations: none, selective, full. loss_chunk: tokens whose logits exist at once, -1 all of them,
    0 as many as the trainer takes by itself. link: nvlink, pcie inside a node; between: ethernet, infiniband.
    """

    shape: Shape
    gpu: Gpu
    gpus: int
    length: int
    micro_batch: int
    accumulation: int = 1
    precision: str = "bf16"
    engine: str = "ddp"
    zero: int = 0
    offload: str = "none"  # none, optimizer, parameters, both
    checkpointing: str = "none"
    optimizer: str = "adamw"  # adamw, muon
    loss_chunk: int = 0
    attention: str = "flash"  # flash1 (2022), flash (2), flash3, te: never keep the scores; math does
    compile: bool = True
    link: str = "nvlink"
    between: str = "infiniband"
    gpus_per_node: int = 8
    tensor: int = 1  # GPUs that share every matrix
    context_parallel: int = 1  # GPUs that share every sequence
    pipeline: int = 1  # GPUs that share the layers
    adapter: Adapter | None = None

    @property
    def data_parallel(self) -> int:
        """Ranks that each see other sequences."""
        return self.gpus // (self.tensor * self.context_parallel * self.pipeline)

    @property
    def nodes(self) -> int:
        """Machines."""
        return -(-self.gpus // self.gpus_per_node)

    @property
    def step_tokens(self) -> int:
        """Tokens of one optimizer step over all GPUs."""
        return self.data_parallel * self.micro_batch * self.length * self.accumulation
