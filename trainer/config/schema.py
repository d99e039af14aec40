"""The configuration of a run as dataclasses. Every key, its unit and its default; nothing else decides a run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

FAMILIES = ("gpt2", "llama", "nanochat")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "fp8-current", "fp8-delayed", "fp8-block", "mxfp8", "nvfp4")


@dataclass
class Model:
    """A decoder of one of three families. Defaults: 0.1 million parameters, for a CPU and for smoke tests.

    gpt2: learned positions, LayerNorm, GELU, biases, tied. llama: RoPE, RMSNorm, SwiGLU, GQA, no biases, untied.
    nanochat: RoPE, weightless RMSNorm, QK-norm, ReLU^2, logit soft cap 15, no biases, untied.
    """

    family: str = "gpt2"
    depth: int = 0  # nanochat's dial; above 0 it sets layers = depth, width = depth * aspect, heads = width / head_dim
    aspect: int = 64  # width per layer, for depth
    head_dim: int = 128  # for depth
    layers: int = 2
    heads: int = 4
    kv_heads: int = 0  # 0: as many as heads; fewer is GQA
    width: int = 64
    ffn: int = 0  # 0: the family's own (4 widths; llama 8/3 widths, rounded up to 256)
    context: int = 64  # tokens
    vocab: int = 256  # rows of the embedding; at least the tokenizer's, padded up by the user for speed
    dropout: float = 0.0
    tied: bool | None = None  # embedding and head share weights; null: the family's own
    rope_theta: float = 10000.0
    attention: str = "auto"  # auto, te, flash3, flash2, flash (3, else 2), sdpa


@dataclass
class Data:
    """path: a folder made by `data prepare` (also gs://, s3://, hf://), or a text file read as bytes; empty means the
    text baked beside the code."""

    path: str = ""
    cache: str = ""  # folder for remote shards; empty: RUN/shards
    cache_gb: float = 50.0
    shuffle_shards: int = 8  # windows are shuffled within this many shards at a time; the cache must hold two groups
    prefetch: int = 4  # micro-batches read ahead by a thread


@dataclass
class Optim:
    """Steps are optimizer steps. The rate goes from lr to min_lr at `decay_steps` (not at the last step: so that
    stopping at another step does not change the steps before it); 0 means train.steps."""

    name: str = "adamw"  # adamw, muon (matrices by Muon, the rest by AdamW)
    lr: float = 3e-3
    min_lr: float = 3e-4
    schedule: str = "cosine"  # cosine, wsd, linear (warm-down over the last decay_fraction), constant
    warmup: int = 10  # steps
    decay_steps: int = 1000
    decay_fraction: float = 0.2  # of decay_steps, for wsd and linear
    weight_decay: float = 0.1  # on matrices and embeddings
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    clip: float = 1.0  # gradient norm; 0: no clipping
    muon_lr: float = 0.02
    muon_momentum: float = 0.95


@dataclass
class Train:
    """batch: windows of model.context tokens in one optimizer step, over all ranks, whatever their number."""

    steps: int = 100  # optimizer steps in the whole run, resumed parts included
    batch: int = 8
    micro_batch: int = 0  # windows at once on one rank; 0: the largest that fits, found by trying (CUDA, ddp)
    seed: int = 1337
    device: str = "auto"  # auto, cpu, cuda
    deterministic: bool = True
    compile: bool = False  # torch.compile, block by block
    compile_mode: str = "default"  # default, max-autotune-no-cudagraphs; CUDA graphs do not fit block by block
    checkpointing: str = "none"  # activation checkpointing: none, selective (attention and MLP inner part), full
    loss_chunk: int = (
        0  # tokens whose logits exist at once; 0: as many as make 64 MiB of fp32 logits (GPU: 2048+), -1: all
    )


@dataclass
class Precision:
    """What is asked for; precision.policy resolves it once. fp8_*: which layers, see docs/trainer.md."""

    name: str = "auto"  # one of PRECISIONS
    backend: str = "auto"  # for FP8: auto, te, native
    min_dim: int = 1024  # smallest in or out dimension of a layer that is worth FP8
    keep_ends: bool = False  # first and last block stay bf16: the ladder's third rung
    warmup_steps: int = 0  # bf16 before FP8 starts: the ladder's fourth rung
    margin: int = 0  # fp8-delayed only
    amax_history: int = 1024  # fp8-delayed only
    amax_algorithm: str = "max"  # fp8-delayed only: max, most_recent


@dataclass
class Parallel:
    """zero: DeepSpeed's stage. engine auto: ddp for stage 0, deepspeed above."""

    engine: str = "auto"  # auto, ddp, deepspeed
    zero: int = 0
    offload: str = "none"  # none, optimizer, parameters, both; parameters need stage 3
    bucket_mb: int = 50  # gradients reduced at once
    timeout: float = 600.0  # seconds until a rank that hears nothing from the others gives up


@dataclass
class Limits:
    """Where a run ends before train.steps; 0 means no limit. What comes first ends it."""

    tokens: int = 0
    hours: float = 0.0  # of this attempt
    dollars: float = 0.0  # of the whole run: price * GPUs * hours, earlier attempts included
    price: float = 0.0  # dollars per GPU-hour
    patience: int = 0  # evaluations without a better validation loss


@dataclass
class Evaluate:
    """every: steps between evaluations, 0 never; tokens: of the validation split, 0 all of it."""

    every: int = 0
    tokens: int = 1_000_000


@dataclass
class Guard:
    """A step whose loss or gradient norm is not finite is never applied. nan, spike: skip, rollback, stop; spike also
    warn and off."""

    nan: str = "skip"
    skips: int = 3  # in a row; then roll back
    rollbacks: int = 2  # in a run; then stop
    spike: str = "warn"
    spike_sigma: float = 8.0  # standard deviations above the running mean of the loss
    spike_window: int = 100  # steps


@dataclass
class Checkpoint:
    """every: steps between saves, 0 only at the end; keep: newest checkpoints that stay on disk, the best besides."""

    every: int = 50
    keep: int = 3
    keep_every: int = 0  # steps; those of every multiple stay besides, 0: none
    asynchronous: bool = True  # write beside the training; the loop waits only while the state is copied
    remote: str = (
        ""  # a store that a process beside the training sends checkpoints to: hf://, gs://, s3://, ssh://, file://
    )
    require_remote: bool = False  # nothing is dropped here that is not whole there
    sync_seconds: float = 300.0  # between passes of that process, which also looks when a checkpoint is new
    remote_keep: int = 3  # newest checkpoints that stay there, the best and keep_every's besides; 0: all
    rate_mb: float = 0.0  # MB/s it may send at most; 0: what the line gives


@dataclass
class Metrics:
    """Beside the JSON lines that are always written."""

    every: int = 1  # steps between lines on standard output
    gpu_seconds: float = 10.0  # between samples of the GPUs; 0: none
    tensorboard: bool = False
    wandb: str = "off"  # off, offline, online
    wandb_project: str = "stoker"
    peak_bf16_tflops: float = 0.0  # of one GPU, dense; 0: from the table, by the GPU's name
    peak_fp8_tflops: float = 0.0


@dataclass
class Stage:
    """One stage of the curriculum: sequences of `length` tokens until `tokens` more are seen; the last has 0: the rest.

    length divides model.context: windows stay the same and are cut into context / length sequences, so a step always
    has train.batch * model.context tokens and no token is read twice or skipped at a border.
    """

    length: int = 0
    tokens: int = 0
    micro_batch: int = 0  # windows; 0: train.micro_batch


@dataclass
class Config:
    """Everything that decides a run."""

    model: Model = field(default_factory=Model)
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=Optim)
    train: Train = field(default_factory=Train)
    precision: Precision = field(default_factory=Precision)
    parallel: Parallel = field(default_factory=Parallel)
    limits: Limits = field(default_factory=Limits)
    evaluate: Evaluate = field(default_factory=Evaluate)
    guard: Guard = field(default_factory=Guard)
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    metrics: Metrics = field(default_factory=Metrics)
    curriculum: list[Stage] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As nested plain values."""
        return dataclasses.asdict(self)
