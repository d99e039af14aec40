"""What the step loop asks of DDP and of every DeepSpeed stage, in one protocol.

The gradient of a step is the sum over all ranks and all micro-batches of `scale` times the gradient of the summed
loss. With scale = 1 / (tokens of the whole step) it does not depend on how many ranks and micro-batches the step was
cut into, which keeps the losses of a run the same on 1, 2 and 8 GPUs (up to the order of additions).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

MODEL_FILE = "model.pt"  # every engine writes it: {canonical name: fp32 tensor}


class Engine(Protocol):
    """A model, its optimizer, and how their state is spread over the ranks.

    One step: `micro` once per micro-batch (last=True for the last one), `norm`, then `step` or `drop`. Every method
    is collective: all ranks call it, in the same order.
    """

    kind: str  # "ddp" or "deepspeed"
    stage: int  # ZeRO stage; 0 for ddp
    model: Any  # nn.Module to call for evaluation: model(inputs, targets) inside backend.autocast(step)
    backend: Any  # trainer.precision.backend.Backend
    parameters: int  # of the whole model, tied ones counted once
    step_number: int  # steps tried (taken or dropped), told to backend.autocast; saved and restored

    @property
    def loss_scale(self) -> float | None:
        """fp16's loss scale, None elsewhere. With one, a norm that is not finite is the scaler's daily work: it comes
        down by half at each, and only at 1 is something wrong."""
        ...

    def micro(self, inputs: Any, targets: Any, scale: float, last: bool) -> Any:
        """Forward and backward of one micro-batch of this rank, (B, T) int64 each; tensors on any device.

        Returns the summed cross entropy of this rank's micro-batch: detached, unscaled, fp32 scalar on the device.
        """
        ...

    def attempt(self, inputs: Any, targets: Any) -> None:
        """Forward and backward of one micro-batch to see what memory it takes; neither its gradient nor a counted
        step stays. Under ddp also when memory runs out in the middle; DeepSpeed's buckets may not survive that."""
        ...

    def norm(self) -> float:
        """L2 norm of the step's gradient, unscaled and unclipped, equal on all ranks; inf or nan where it is broken."""
        ...

    def step(self, lr_scale: float) -> None:
        """Clips to optim.clip, sets each group's rate to its base_lr * lr_scale, applies, zeroes the gradient.

        A gradient that is not finite is never applied: such a step is a drop.
        """
        ...

    def drop(self) -> None:
        """Forgets the gradient; parameters, optimizer state and rates stay as they are. An fp16 scaler learns of it."""
        ...

    def write(self, folder: Path) -> None:
        """Writes every file of this engine's state into the existing folder; complete on rank 0 when it returns."""
        ...

    def read(self, folder: Path) -> None:
        """Takes up what `write` wrote; the same ranks and engine go on bit for bit.

        Raises TrainerError when the files belong to another engine, stage or number of ranks.
        """
        ...

    def full_parameters(self) -> dict[str, Any] | None:
        """The whole model as {canonical name: fp32 CPU tensor} on rank 0, None elsewhere; gathers ZeRO-3."""
        ...

    def close(self) -> None:
        """Frees what the engine holds; the process group stays."""
        ...
