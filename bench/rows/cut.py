"""What a published row's word for its parallelism says: how the model, the batch and the memory were cut."""

from __future__ import annotations

import re
from dataclasses import dataclass

from profiles.errors import WrongInput

NODE = 8  # GPUs
ADAPTERS = {"qlora": "quantised", "lora": "plain"}


@dataclass(frozen=True, slots=True)
class Cut:
    """sharded: GPUs that share weights and optimizer, 0: not said, all. zero: the stage. pure: gradients are reduced in
    16 bits. adapter: None (full training), plain or quantised. None of zero, checkpointing, compile: not said."""

    sharded: int = 0
    zero: int | None = None
    tensor: int = 1
    context: int = 1
    pipeline: int = 1
    checkpointing: str | None = None
    compile: bool | None = None
    pure: bool = False
    adapter: str | None = None


def cut_of(text: str, gpus: int) -> Cut:
    """Reads 'FSDP32 TP8; act_ckpt=full; torch.compile', 'FSDP FULL_SHARD (ZeRO-3); act_ckpt=none; mp=PURE', 'qlora'.
    Raises WrongInput for degrees that do not cover the GPUs."""
    said = text.lower()
    copies, sharded = _hybrid(said, gpus)
    return _whole(
        Cut(
            sharded=sharded or _degree(said, "fsdp"),
            zero=_zero(said),
            tensor=_degree(said, "tp") or 1,
            context=_degree(said, "cp") or 1,
            pipeline=_degree(said, "pp") or 1,
            checkpointing=_checkpointing(said),
            compile=_compiled(said),
            pure="mp=pure" in said,
            adapter=next((kind for word, kind in ADAPTERS.items() if word in said), None),
        ),
        gpus,
        copies,
    )


def _whole(cut: Cut, gpus: int, copies: int) -> Cut:
    """Raises WrongInput for degrees that are not all of the GPUs: copies of a sharded model have no word in a Setup."""
    used = (cut.sharded or 1) * cut.tensor * cut.context * cut.pipeline
    if gpus % (used * copies):
        raise WrongInput(f"degrees that multiply to {used * copies} do not divide {gpus} GPUs", "correct the row")
    if cut.sharded and used < gpus:
        raise WrongInput(f"hybrid sharding ({gpus // used} copies) is not modelled", "every GPU must hold another part")
    return cut


def _hybrid(said: str, gpus: int) -> tuple[int, int]:
    """(copies, GPUs that share one) of 'HSDP 2x8' and of FSDP's HYBRID_SHARD, a copy per node; (1, 0): not hybrid.
    Raises WrongInput for HSDP without its degrees."""
    degrees = re.search(r"\bhsdp\D{0,3}(\d+) ?[x×*] ?(\d+)", said)
    if degrees:
        return max(1, int(degrees[1])), int(degrees[2])
    if "hybrid_shard" in said:
        return -(-gpus // NODE), min(gpus, NODE)
    if "hsdp" in said and not _degree(said, "fsdp"):
        raise WrongInput("hybrid sharding is not modelled", "every GPU must hold another part")
    return 1, 0


def _degree(said: str, word: str) -> int:
    found = re.search(rf"\b{word}[ =]?(\d+)\b", said)
    return int(found[1]) if found else 0


def _zero(said: str) -> int | None:
    named = re.search(r"zero[- ]?(\d)", said)
    if named:
        return int(named[1])
    for word, stage in (("no_shard", 0), ("shard_grad_op", 2), ("full_shard", 3), ("fsdp", 3), ("hsdp", 3)):
        if word in said:
            return stage
    if "sharded" in said and "optimizer" in said:
        return 1
    return 0 if "ddp" in said else None


def _compiled(said: str) -> bool | None:
    if re.search(r"\bno[ -](torch\.)?compile", said):
        return False
    return True if "compile" in said or re.search(r"async[ -]?tp", said) else None  # asynchronous TP is a compiler pass


def _checkpointing(said: str) -> str | None:
    found = re.search(r"act_ckpt=(\w+)", said)
    return found[1] if found and found[1] in ("none", "selective", "full") else None
