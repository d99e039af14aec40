"""The programs whose measurements were published: what each does when a row does not say otherwise.

Read in their code and recipes, named per fact. Engines are those of fleet/capacity/memory/engines.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bench.rows.cut import Cut
from bench.rows.recipes import ADAPTERS, FULL_SEQUENCES, recipe
from fleet.capacity.setup import Adapter
from fleet.capacity.shape import Shape
from profiles.errors import WrongInput

EVERYWHERE = ("q", "v", "o", "mlp")


@dataclass(frozen=True, slots=True)
class Program:
    """length: of a sequence, micro_batch: sequences at once, when a row leaves them out; 0: no convention to go by.

    step_tokens, step_sequences: of one optimizer step over all GPUs; both 0: it does not accumulate.
    engine: whose bookkeeping; compiled: its name where the loss is compiled with the model, empty: it is not.
    lone: optimizer of full training on one GPU; grouped: checkpointing on several. adapters: rank and targets of LoRA
    on one GPU and on several. untied: it keeps a head of its own where the published weights share the embedding.
    tuned, sequences: where its recipes differ by model (recipes.py).
    """

    engine: str
    compiled: str = ""
    zero: int = 0
    length: int = 0
    micro_batch: int = 0
    step_tokens: int = 0
    step_sequences: int = 0
    checkpointing: str = "none"
    grouped: str = ""
    optimizer: str = "adamw"
    lone: str = "adamw"
    loss_chunk: int = -1
    compile: bool = False
    attention: str = "flash"
    adapters: tuple[Adapter, Adapter] = (Adapter(), Adapter())
    untied: bool = False
    tuned: Mapping[str, Adapter] = field(default_factory=dict)
    sequences: Mapping[str, int] = field(default_factory=dict)

    def as_built(self, shape: Shape) -> Shape:
        """The model as this program holds it."""
        return replace(shape, tied=False) if self.untied and shape.tied else shape

    def engine_of(self, cut: Cut) -> str:
        """llm-foundry's PURE is a bookkeeping of its own, a compiled loss too."""
        if self.compiled and cut.compile:
            return self.compiled
        return "fsdp-pure" if self.engine == "fsdp" and cut.pure else self.engine

    def zero_of(self, cut: Cut, gpus: int) -> int:
        """The stage the row says; else the program's own, which one GPU has no use for."""
        return cut.zero if cut.zero is not None else self.zero if gpus > 1 else 0

    def optimizer_of(self, cut: Cut, gpus: int) -> str:
        """LoRA's is AdamW everywhere."""
        return "adamw" if cut.adapter else self.lone if gpus == 1 else self.optimizer

    def checkpointing_of(self, cut: Cut, gpus: int) -> str:
        """What the row says, else the program's own."""
        return cut.checkpointing or (self.grouped if gpus > 1 else "") or self.checkpointing

    def accumulation_of(self, model: str, sequences: int, length: int) -> int:
        """Micro-batches per optimizer step, when one of them is `sequences` over all GPUs."""
        wanted = recipe(self.sequences, model) or self.step_sequences or self.step_tokens / length
        return max(1, round(wanted / sequences))

    def adapter_of(self, cut: Cut, model: str, gpus: int) -> Adapter | None:
        """Low-rank matrices, if the row is about them."""
        if cut.adapter is None:
            return None
        usual = recipe(self.tuned, model) or self.adapters[gpus > 1]
        return replace(usual, quantised=cut.adapter == "quantised")


PROGRAMS = {
    # scripts/train/yamls/pretrain/mpt-*.yaml: decoupled AdamW, flash attention, no compile; the loss takes all logits.
    # composer's FSDP mixed precision: shards stay fp32 (weights, gradients, moments: 16 B per parameter); both DEFAULT
    # and PURE gather weights in bf16, DEFAULT reduces gradients in fp32, PURE in bf16.
    # scripts/train/benchmarking/submit_benchmarks.py: global batches of 2^19 tokens and more.
    # setup.py's `gpu` extra installed flash-attn 1.0.x all through 2023.
    "llm-foundry": Program("fsdp", zero=3, step_tokens=2**19, attention="flash1"),
    # train_configs/llama3_8b.toml: seq_len 8192, selective checkpointing (op), fp32 weights gathered in bf16.
    # Cross entropy over whole fp32 logits; not compiled with the model before April 2025 (pull request 1033).
    "torchtitan": Program("fsdp2", zero=3, length=8192, checkpointing="selective"),
    # litgpt/finetune, config_hub/finetune: bf16-true, AdamW; 8 samples a step; LoRA: rank 32 on queries and values.
    # On several GPUs FSDP over blocks, every block checkpointed; micro-batches accumulate without synchronising, so
    # that each GPU holds gradients of the whole model. LoRA's loss takes logits in chunks of 128 positions.
    "litgpt": Program(
        "bf16",
        zero=3,
        length=512,
        step_sequences=8,
        grouped="full",
        adapters=(Adapter(32), Adapter(32)),
        untied=True,
        tuned=ADAPTERS,
        sequences=FULL_SEQUENCES,
    ),
    # recipes/configs/llama3_1: dtype bf16, activation checkpointing on; single-device full: bitsandbytes' paged AdamW
    # in 8 bits with the optimizer in the backward pass; LoRA on attention without keys, and the MLP; chunked loss.
    "torchtune": Program(
        "bf16-torchao",
        zero=3,
        checkpointing="full",
        lone="paged-adamw8bit",
        loss_chunk=512,
        adapters=(Adapter(8, EVERYWHERE), Adapter(16, EVERYWHERE)),
    ),
    # scripts/base_train.py: device batch 32, 2048 tokens, 2^19 tokens a step; compiled. nanochat/optim.py, gpt.py:
    # Muon for matrices, AdamW for the rest, state sharded; matrices and head fp32, embeddings, their gradients and
    # moments bf16.
    "nanochat": Program(
        "nanochat",
        zero=1,
        length=2048,
        micro_batch=32,
        step_tokens=2**19,
        optimizer="muon",
        lone="muon",
        compile=True,
        attention="flash3",  # on Hopper: nanochat/flash_attention.py
    ),
    # nemo_automodel: FSDP2, fp32 shards gathered in bf16; what its recipes checkpoint and compile differs by model.
    "nemo": Program("fsdp2", zero=3, length=4096),
}


CHANGED = {"torchtitan": (202504, {"compiled": "fsdp2-compiled-loss"})}  # since which month, what


def program_of(source: str) -> Program:
    """By the repository a row was found in, and the month its path names (`2024-12`, `202506`), if it does.
    Raises WrongInput for a program nothing is known of."""
    repository, _, path = source.partition(":")
    for name, program in PROGRAMS.items():
        if name in repository.lower():
            month = re.search(r"(20\d\d)-?(0[1-9]|1[0-2])", path)
            since, news = CHANGED.get(name, (0, {}))
            return program if month and int(month[1] + month[2]) < since else replace(program, **news)
    raise WrongInput(f"how {repository} trains is not known here", "add it to bench/rows/programs.py")
