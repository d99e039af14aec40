"""How it is trained: sequence length, batch, precision, sharding, as a checked Workload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.amounts import whole
from cli.plan_asked import Asked, choice, told
from cli.plan_flags import Flags
from profiles.errors import WrongInput

if TYPE_CHECKING:
    from fleet.capacity.workload import Workload

STEP_TOKENS = 524_288  # of one optimizer step where nobody says: nanochat's, and what most guides aim at
LENGTH = 2048  # of a known model's sequences, where nobody says
MOST_LENGTH = 4 * 2**20
MOST_BATCH = 2**24
# model.attention -> Setup.attention. auto: the trainer tries Transformer Engine first, and NGC images have it.
# PyTorch's own kernel is FlashAttention-2's.
ATTENTION = {"auto": "te", "te": "te", "flash3": "flash3", "flash": "flash", "flash2": "flash", "sdpa": "flash"}
NETWORKS = ("infiniband", "ethernet")
CHOICES = {
    "offload": ("parallel", "offload", ("none", "optimizer", "parameters", "both")),
    "checkpointing": ("train", "checkpointing", ("none", "selective", "full")),
    "optimizer": ("optim", "name", ("adamw", "muon")),
    "zero": ("parallel", "zero", ("0", "1", "2", "3")),
}


def workload_of(found: Asked, flags: Flags, gpus: int = 1) -> Workload:
    """The flags over `found`, checked by the trainer's own rules and the planner's. Raises WrongInput.

    gpus: what a batch that nobody names has to divide among.
    """
    from fleet.capacity.workload import check

    of_training(found, flags)
    if flags.length and found.shape is None:
        found.put({"model": {"context": whole(flags.length, "--length", 1, MOST_LENGTH)}}, "--length")
    resolve(found)
    made = made_of(found, flags, gpus)
    if found.config.curriculum:
        found.notes.append("all of it at the full length: the curriculum's shorter sequences take less time")
    check(made)
    return made


def of_training(found: Asked, flags: Flags) -> None:
    """The flags that stand for a key of the trainer."""
    from trainer.config.schema import PRECISIONS

    for name, (section, key, known) in CHOICES.items():
        if text := getattr(flags, name):
            found.put({section: {key: choice(text, f"--{name}", known)}}, f"--{name}")
    if flags.precision:
        choice(flags.precision, "--precision", ("fp8", *PRECISIONS))
        found.put({"precision": {"name": flags.precision}}, "--precision")
    if flags.device_batch_size:
        size = whole(flags.device_batch_size, "--device-batch-size", 1, MOST_BATCH)
        found.put({"train": {"micro_batch": size}}, "--device-batch-size")


def resolve(found: Asked) -> None:
    """By the trainer's own rules, so that what is planned can be started."""
    from trainer.config import check as rules

    offload = found.config.parallel.offload
    if offload != "none" and found.config.optim.name == "muon":
        raise WrongInput("Muon's state cannot be offloaded: that needs ZeRO", "--optimizer adamw, or no --offload")
    if found.said.get("parallel.offload", "").startswith("--") and "parallel.zero" not in found.said:
        found.config.parallel.zero = 1 if offload == "optimizer" else 3 if offload != "none" else 0
    with told():
        rules.resolve(found.config)
        rules.check(found.config)


def made_of(found: Asked, flags: Flags, gpus: int) -> Workload:
    """What was said, fixed; the rest left to the planner."""
    from cli.workload import shape_of
    from fleet.capacity.workload import Workload

    config = found.config
    shape = found.shape or shape_of(config.model, found.name)
    length = config.model.context if found.shape is None else own_length(flags, shape.context)
    return Workload(
        shape=shape,
        length=length,
        batch=batch_of(found, flags, length, gpus * (config.train.micro_batch or 1)),
        precision=config.precision.name if "precision.name" in found.said else "auto",
        optimizer=config.optim.name,
        micro_batch=config.train.micro_batch or None,
        zero=said(found, "parallel.zero", config.parallel.zero),
        offload=config.parallel.offload,
        checkpointing=said(found, "train.checkpointing", config.train.checkpointing),
        loss_chunk=config.train.loss_chunk,
        between=choice(flags.network, "--network", NETWORKS) if flags.network else None,
        attention=ATTENTION[config.model.attention],
        compile=config.train.compile if "train.compile" in found.said else True,
    )


def said(found: Asked, key: str, value: Any) -> Any:
    """The value if somebody said it, else None: for the planner to choose."""
    return value if key in found.said else None


def own_length(flags: Flags, context: int) -> int:
    """Of a known model, whose context is not what it must be trained at."""
    return whole(flags.length, "--length", 1, MOST_LENGTH) if flags.length else min(LENGTH, context)


def batch_of(found: Asked, flags: Flags, length: int, unit: int) -> int:
    """Sequences of one optimizer step; where nobody says, a multiple of `unit`.

    Raises WrongInput for tokens that are no whole number of sequences.
    """
    if flags.batch and flags.batch_tokens:
        raise WrongInput("--batch and --batch-tokens contradict each other", "give one: sequences, or tokens")
    if flags.batch:
        return whole(flags.batch, "--batch", 1, MOST_BATCH)
    if flags.batch_tokens:
        tokens = whole(flags.batch_tokens, "--batch-tokens", 1, MOST_BATCH * length)
        if tokens % length:
            near = sorted({max(1, tokens // length) * length, -(-tokens // length) * length})
            raise WrongInput(
                f"--batch-tokens {tokens:,} is no whole number of sequences of {length:,} tokens",
                f"--batch-tokens {' or '.join(str(one) for one in near)}",
            )
        return tokens // length
    if "train.batch" in found.said:
        return found.config.train.batch
    batch = max(1, round(STEP_TOKENS / length / unit)) * unit
    found.notes.append(f"{batch:,} sequences ({batch * length:,} tokens) per step assumed: --batch")
    return batch
