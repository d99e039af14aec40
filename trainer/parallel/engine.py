"""What the step loop asks of DDP and of every DeepSpeed stage, in one protocol.

The gradient of a step is the sum over all ranks and all micro-batches of `scale` times the gradient of the summed
loss. With scale = 1 / (tokens of the whole step) it does not depend on how many ranks and micro-batches the step was
cut into, which keeps the losses of a run the same on 1, 2 and 8 GPUs (up to the order of additions).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.checkpoint.piece import Piece, Stored


class Engine(Protocol):
    """A model, its optimizer, and how their state is spread over the ranks.

    One step: `micro` once per micro-batch (last=True for the last one), `norm`, then `step` or `drop`. Methods are
    collective unless they say otherwise: all ranks call them, in the same order.
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

    def pieces(self) -> list[Piece]:
        """This rank's share of the fp32 masters and of the optimizer's state: about 1/N of all, in the same order at
        every save. All ranks' pieces together cover every tensor exactly once. Not collective.

        Live: views of what the next step changes, nothing is copied or gathered. They may be copied by another thread
        while `micro`, evaluation and `norm` run, but that must have ended before `step`, `drop`, `attempt`, `fill` or
        `close` is called: within the former nothing writes to them, not even for a moment, in any engine, stage, way
        of offloading or scaler (watched by tests/trainer/parallel/test_resuming_engines.py; why: ddp.py, zero.py). On a
        GPU the last step may still be running when this returns: copies wait for the training's stream. Make new pieces
        at every save: optimizer state comes into being with the first step (before it there are weights only).
        """
        ...

    def buffers(self) -> dict[str, Tensor]:
        """What the model keeps besides parameters (persistent buffers, FP8 extra state), by canonical name: CPU clones
        of this moment. Empty except on rank 0. Not collective."""
        ...

    def small(self) -> dict[str, Any]:
        """What is no tensor, for JSON: {"step": step_number, "scaler": {"scale": float, "good_steps": int} | None}.
        good_steps: since the scale was last changed. Equal on all ranks; not collective."""
        ...

    def fill(self, stored: Stored, small: Mapping[str, Any]) -> None:
        """Takes up the checkpoint of any engine, stage and number of ranks; collective. The same engine on as many
        ranks goes on bit for bit; others take up the same numbers, cut anew.

        Rates, decay and betas stay the configuration's. Each rank reads only what it holds, one parameter at a time.
        Raises TrainerError (REFUSED) where names, shapes or the optimizer's kind belong to another model, before
        anything is changed.
        """
        ...

    def close(self) -> None:
        """Frees what the engine holds; the process group stays."""
        ...
