"""How programs keep weights, gradients and optimizer state: bytes per parameter, and what is whole where.

What is cut follows ZeRO's stages (arXiv 1910.02054), whatever the program calls them: 1 the optimizer's state, 2 also
gradients, 3 also weights. FSDP's FULL_SHARD is stage 3, SHARD_GRAD_OP stage 2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fleet.capacity.setup import Setup
from profiles.errors import WrongInput
from profiles.nearest import nearest


@dataclass(frozen=True, slots=True)
class Engine:
    """Bytes per parameter. weights, gradients, master, moment: kept between steps (moment: one of them).

    embedding: weights, gradients and one moment of the embeddings where they differ; None: as the rest.
    copies: 16-bit copies of the blocks' matrices that live from forward to backward. gathered: a parameter made whole
    for its layer; reduced: its gradient before it is cut; whole: gradients summed without synchronising, uncut, while
    micro-batches are accumulated. stream: of the residual stream between blocks.
    live: parameters that stay whole (stage 3 of DeepSpeed), root: whether embeddings and head stay whole from forward
    to backward.
    lasting: gradients live from step to step (views into buckets). fused_adamw: the step needs no intermediates.
    loss: how the loss holds logits: chunks, fp32, 16-bit, fused (logits.py). selective: which products selective
    checkpointing keeps: all, every-second. fused_qkv: one product makes q, k and v, so that v, a view, keeps all alive.
    fp8_inputs, fp8_copies: bytes of an input that an FP8 product keeps, and of FP8 copies of a matrix.
    four_bit: bytes per element of a frozen matrix in 4 bits; four_bit_head: the head is one too; four_bit_inputs: such
    products keep their input all the same. mask: bytes per element of an adapter's dropout and its output.
    """

    name: str
    source: str
    weights: float
    gradients: float
    moment: float
    master: float = 0.0
    embedding: tuple[float, float, float] | None = None
    copies: float = 0.0
    gathered: float = 2.0
    reduced: float = 2.0
    whole: float = 0.0
    live: float = 0.0
    root: bool = False
    buckets: int = 0
    lasting: bool = False
    fused_adamw: bool = False
    loss: str = "fp32"
    selective: str = "all"
    fused_qkv: bool = True
    fp8_inputs: float = 1.0
    fp8_copies: float = 2.0
    four_bit: float = 0.5 + 4.0 / 64  # 4 bits and an fp32 scale for 64 of them: bitsandbytes' nf4
    four_bit_head: bool = True
    four_bit_inputs: bool = True
    mask: float = 3.0


ENGINES = {
    one.name: one
    for one in (
        Engine(
            "ddp",
            "trainer/parallel/ddp.py: fp32 weights, gradients and moments on every GPU; bf16 copies by autocast",
            weights=4,
            gradients=4,
            moment=4,
            copies=2,
            lasting=True,  # gradients are views into DistributedDataParallel's buckets
            fused_adamw=True,
            loss="chunks",
        ),
        Engine(
            "zero",
            "trainer/parallel/zero_settings.py: bf16 weights, gradients summed in fp32, fp32 masters and moments",
            weights=2,
            gradients=4,
            moment=4,
            master=4,
            live=1e9,  # stage3_max_live_parameters, DeepSpeed's default: EleutherAI's calculator adds it too
            buckets=2,  # reduce and allgather, of parallel.bucket_mb (50 MiB), twice with overlap_comm
            lasting=True,
            fused_adamw=True,
            loss="chunks",
        ),
        Engine(
            "fsdp",
            "PyTorch FSDP, fp32 shards and moments; layers gathered in 16 bits, gradients reduced in fp32",
            weights=4,
            gradients=4,
            moment=4,
            reduced=4,
            root=True,
            loss="fused",
        ),
        Engine(
            "fsdp-pure",
            "PyTorch FSDP, fp32 shards and moments; layers gathered and gradients reduced in 16 bits",
            weights=4,
            gradients=4,
            moment=4,
            root=True,
            loss="fused",
        ),
        Engine(
            "fsdp2",
            "PyTorch fully_shard, fp32 shards, gradients and moments; layers gathered in bf16, reduced in fp32",
            weights=4,
            gradients=4,
            moment=4,
            reduced=4,
            whole=4,  # unsharded_accumulated_grad is kept in reduce_dtype (torch _fsdp_param.py)
            root=True,
            loss="fp32",
            selective="every-second",
            fused_qkv=False,
            fp8_inputs=2,  # torchao's Float8Linear saves what it was given and casts it again in backward
            fp8_copies=0,
        ),
        Engine(
            "bf16",
            "weights, gradients and moments in bf16; several GPUs: FSDP over the blocks",
            weights=2,
            gradients=2,
            moment=2,
            whole=4,  # FSDP1's no_sync: the sum of earlier micro-batches beside the new flat gradient
            root=True,
            loss="fp32",  # Fabric's precision plugin returns fp32 logits (convert_output)
        ),
        Engine(
            "nanochat",
            "fp32 matrices and head, cast to bf16 where they multiply; embeddings bf16; optimizer state cut",
            weights=4,
            gradients=4,
            moment=4,
            embedding=(2, 2, 2),
            copies=2,
            loss="fused",
        ),
    )
}
ENGINES["fsdp2-compiled-loss"] = replace(
    ENGINES["fsdp2"],
    name="fsdp2-compiled-loss",
    source="fsdp2, with float(), log-softmax and their gradient compiled into one kernel over bf16 logits",
    loss="fused",
)
ENGINES["bf16-torchao"] = replace(
    ENGINES["bf16"],
    name="bf16-torchao",
    source="bf16, with torchao's NF4 (scales quantised too: QLoRA, arXiv 2305.14314, section 3) and no LoRA dropout",
    four_bit=0.5 + 1.0 / 64 + 4.0 / (64 * 256),
    loss="16-bit",
    four_bit_head=False,
    four_bit_inputs=False,
    mask=2.0,
    fused_qkv=False,
    fused_adamw=True,
)


def engine_of(setup: Setup) -> Engine:
    """The bookkeeping of `setup`. Raises WrongInput for one that is not known."""
    found = ENGINES.get(setup.engine)
    if found is None:
        near = nearest(setup.engine, ENGINES)
        known = ", ".join(ENGINES)
        raise WrongInput(f"unknown engine `{setup.engine}`", f"did you mean `{near}`?" if near else f"one of: {known}")
    return found


def moments(setup: Setup, engine: Engine) -> tuple[float, float]:
    """Bytes per parameter of the moments: of the blocks' matrices, of everything else. Raises WrongInput.

    AdamW keeps two; Muon one for matrices (K. Jordan, "Muon"), AdamW's two for the rest; bitsandbytes' 8-bit AdamW two
    of one byte (arXiv 2110.02861), which "paged" moves to the host only where the GPU is full.
    """
    both = 2 * engine.moment
    kinds = {
        "adamw": (both, both),
        "muon": (engine.moment, both),
        "adamw8bit": (2.0, 2.0),
        "paged-adamw8bit": (2.0, 2.0),
        "sgd": (0.0, 0.0),
    }
    if setup.optimizer not in kinds:
        raise WrongInput(f"unknown optimizer `{setup.optimizer}`", f"one of: {', '.join(kinds)}")
    return kinds[setup.optimizer]
