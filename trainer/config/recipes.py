"""The presets as data: those the seed documents name, with their true sizes, and small ones to begin with.

The seed documents are the five texts the project began from; `rows` are their row ids in docs/seeds.md. What a document
claims and does not hold stands in `claim`, and why in `story`. Parameters are counted by trainer.model.count, never
written down here.

Learning rates: of the source where there is one; else AdamW's follow GPT-3's table (arXiv 2005.14165, table 2.1), and
beside Muon fall with the square root of the width, as nanochat's do. Steps: of the source where there is one; else 20
tokens per parameter of the blocks (Hoffmann et al. 2022, arXiv 2203.15556).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

Values = dict[str, Any]
GPT2_VOCAB = 50304  # GPT-2's 50257 tokens, up to a multiple of 128
DEPTHS = (12, 20, 24, 26, 32, 48, 64)


@dataclass(frozen=True)
class Preset:
    """A named configuration: what `train --preset NAME` starts from."""

    name: str
    rows: tuple[str, ...]  # of the seed documents; empty: our own
    note: str  # one line
    values: Values  # nested, as a config file has them
    claim: str = ""  # the parameters that a seed document gives, where they are wrong
    story: str = ""  # what was corrected and why, and what to set to follow the document to the letter


def _gpt2(layers: int, width: int, heads: int, context: int, vocab: int = GPT2_VOCAB) -> Values:
    sizes = {"layers": layers, "width": width, "heads": heads, "context": context, "vocab": vocab}
    return {"family": "gpt2", **sizes}


def _optim(lr: float, steps: int, warmup: int, **others: Any) -> Values:
    """Cosine to a tenth over all steps, unless told otherwise."""
    return {"lr": lr, "min_lr": _round(lr / 10), "warmup": warmup, "decay_steps": steps, **others}


def _round(value: float) -> float:
    """To two digits."""
    return float(f"{value:.1e}")


def _depth(depth: int, vocab: int) -> Values:
    return {"family": "nanochat", "depth": depth, "aspect": 64, "head_dim": 128, "context": 2048, "vocab": vocab}


def _muon(depth: int, steps: int) -> Values:
    lr = _round(3e-3 * math.sqrt(768 / (64 * depth)))
    warm_down = {"schedule": "linear", "decay_fraction": 0.65, "weight_decay": 0.01}  # nanochat's trapezoid
    return _optim(lr, steps, 100, name="muon", **warm_down)


SHARDED = {48: {"zero": 2}, 64: {"zero": 3}}  # what an 80 GB card cannot hold whole
LARGE_LR = {48: 1.2e-4, 64: 1.0e-4}
CLAIMS = {
    12: ("60M", ("S0-22", "C17")),
    20: ("160M", ("S0-22", "C17")),
    24: ("", ("S2-5", "C3")),
    26: ("", ("S4-22",)),
    32: ("410M", ("S0-22", "C17")),
    48: ("920M, 2.4B", ("S0-22", "S2-11", "C3", "C17")),
    64: ("4.3B", ("S2-5", "S2-11", "C2", "C3", "C4")),
}


def _nanochat(depth: int) -> Preset:
    """Width 64 per layer, heads of 128; blocks of 12 * 64^2 * depth^3 parameters, so 1.875 * depth^3 steps."""
    steps = round(1.875 * depth**3)
    claim, rows = CLAIMS[depth]
    values: Values = {
        "model": _depth(depth, 65536),
        "optim": _optim(LARGE_LR[depth], steps, 2000) if depth in SHARDED else _muon(depth, steps),
        "train": {"steps": steps, "batch": 256},
        "checkpoint": {"every": 250},
    }
    story = "Vocabulary 65536, no value embeddings; nanochat of 2026 has 32768 and value embeddings: other counts. "
    if depth in SHARDED:
        values["parallel"] = SHARDED[depth]
        story += "For 8 GPUs of 80 GB: the state does not fit one card, and ZeRO cannot shard Muon, so AdamW. "
    if depth == 64:
        values["train"]["checkpointing"] = "full"
        story += "ZeRO-3 leaves 16 bytes per parameter / 8 = 27 GB a card; without it 107 GB of weights and gradients. "
    if depth == 24:
        story += "The document's 680M is right for the blocks. "
    if claim:
        story += f"The document says {claim}: estimates built on it are too low. "
    return Preset(f"d{depth}", rows, f"nanochat, depth {depth}", values, claim, story.strip())


def _characters(depth: int) -> Preset:
    """The character-level experiment: vocabulary of 32, four passes over its 350M characters."""
    steps = 2670  # 4 * 350e6 / 524288
    values: Values = {
        "model": _depth(depth, 32),
        "optim": _optim(LARGE_LR[depth], steps, 200) if depth in SHARDED else _muon(depth, steps),
        "train": {"steps": steps, "batch": 256},
        "precision": {"name": "bf16"},
        "evaluate": {"every": 100},
        "limits": {"patience": 5},
        "checkpoint": {"every": 250},
    }
    story = (
        "256 windows of 2048 are 524,288 tokens a step; the document counts 8 x 4 x 2048 as that, which is 65,536: the "
        "rest is accumulation. Four passes over 350M characters; its 23,000 steps are 34 passes and overfit. "
    )
    if depth == 64:
        values["train"]["checkpointing"] = "full"
        values["parallel"] = {"zero": 3}
        story += (
            "4.3B is the attention alone. 12.9B in fp32 weights and gradients are 103 GB: on 80 GB cards it needs "
            "ZeRO-3 (206 GB of state / 8 = 26 GB a card) and full checkpointing."
        )
    rows = {24: ("S2-9", "S2-70"), 64: ("S2-3", "S2-9", "S2-38", "C2", "C4", "C5", "C6", "C36")}[depth]
    claim = "4.3B" if depth == 64 else ""
    return Preset(f"chars-d{depth}", rows, f"characters, depth {depth}", values, claim, story.strip())


GUIDE = Preset(
    "gpt2-1b-guide",
    ("S1-1", "S1-31", "S1-32", "S1-33", "S1-34", "S1-35", "S1-36", "S1-38", "C10", "C12", "C14", "C15"),
    'the DeepSpeed guide\'s "1B" as it is',
    {
        "model": _gpt2(24, 1536, 24, 2048, 50000),
        "optim": _optim(3e-4, 49_209, 2000),
        "train": {"steps": 49_209, "batch": 512},
        "precision": {"name": "bf16"},
        "checkpoint": {"every": 1000, "keep": 5},
    },
    "1B",
    "The guide's shape is 0.76B (0.84B untied). One pass over its 51.6B tokens is 49,209 steps; its 100,000 are two. "
    "bf16 and no sharding: 16 bytes per parameter are 12 GB, so ZeRO-3 with offload only slows it down. To the letter: "
    "--set train.steps=100000 --set optim.decay_steps=100000 --set precision.name=fp16 --set parallel.zero=3 --set "
    "parallel.offload=both --set train.checkpointing=full --set train.micro_batch=4. Its vocabulary of 50,000 is too "
    "small for GPT-2's tokenizer (50,257): give it one of at most 50,000.",
)
TRUE_1B = Preset(
    "gpt2-1b",
    ("S1-1", "C10", "C12", "C14", "C15", "C16"),
    "a true 1B of the GPT-2 family",
    {
        "model": _gpt2(18, 2048, 16, 2048),
        "optim": _optim(3e-4, 49_209, 2000),
        "train": {"steps": 49_209, "batch": 512},
        "checkpoint": {"every": 1000, "keep": 5},
    },
    "",
    "2048 x 18 and not 1536 x 33, which weighs the same: its products do a third more arithmetic per byte moved (about "
    "linear in the width), FP8 pays from a width of about 2048, there are 18 and not 33 layers of kernels to launch, "
    "and heads are 128 wide. 50,304 rows hold GPT-2's vocabulary.",
)
SUPERBPE = Preset(
    "superbpe-0.6b",
    ("S3-19", "S3-21", "S3-23", "S3-31", "S3-40", "S3-54", "C20", "C21", "C22", "C30", "C31"),
    "FP8, SuperBPE, sequence-length curriculum",
    {
        "model": {
            "family": "llama",
            "layers": 17,
            "width": 1280,
            "heads": 10,
            "context": 2048,
            "vocab": 200_064,
            "tied": True,
        },
        "optim": _optim(6e-4, 4978, 500),
        "train": {"steps": 4978, "batch": 256},  # 4978 * 524,288 = 2.61B tokens
        "precision": {"name": "fp8-current"},
        "evaluate": {"every": 250},
        "checkpoint": {"every": 250},
        "curriculum": [
            *({"length": length, "tokens": 249 * 524_288} for length in (8, 16, 32, 64, 128, 256, 512)),
            {"length": 2048},
        ],
    },
    "187M",
    "The document names 0.6B and budgets memory for 187M; the embedding of 200,064 rows (SuperBPE t80k, up to a "
    "multiple of 128) alone is 256M. Each short stage has 5% of the 2.61B tokens, exact in steps; the full length has "
    "65%. FP8 by current scaling (the document's delayed scaling: --set precision.name=fp8-delayed); it needs a card "
    "of compute capability 8.9, which an A100 is not, and gains 1.05 to 1.35 times and not 2. 65,536 tokens have 52 GB "
    "of fp32 logits: the loss stays chunked (train.loss_chunk=0). Compare runs by bits per byte, not loss per token.",
)
OWN = (
    Preset(
        "tiny",
        (),
        "a CPU, seconds, the text beside the code",
        {
            "model": _gpt2(4, 128, 4, 128, 256),
            "optim": _optim(3e-3, 100, 10),
            "train": {"steps": 100, "batch": 16},
            "checkpoint": {"every": 50},
        },
        "",
        "Text as bytes, so any text file will do: --data FILE.",
    ),
    Preset(
        "shakespeare-chars",
        (),
        "characters of a small book",
        {
            "model": {**_gpt2(6, 384, 6, 256, 128), "dropout": 0.2},
            "optim": _optim(1e-3, 5000, 100, beta2=0.99),
            "train": {"steps": 5000, "batch": 64},
            "evaluate": {"every": 250},
            "limits": {"patience": 5},
            "checkpoint": {"every": 250},
        },
        "",
        "For a megabyte of text, prepared with `data prepare --tokenizer chars`; nanoGPT's recipe. It overfits: "
        "patience ends it, and the best checkpoint is the one to take. Vocabulary 128 holds any alphabet of up to 128.",
    ),
    Preset(
        "gpt2-124m",
        (),
        "GPT-2 small, 10B tokens",
        {
            "model": _gpt2(12, 768, 12, 1024),
            "optim": _optim(6e-4, 19_073, 715),
            "train": {"steps": 19_073, "batch": 512},
            "evaluate": {"every": 250},
            "checkpoint": {"every": 500},
        },
        "",
        "build-nanogpt's recipe. On FineWeb this class reaches a validation loss of 3.28 (GPT-2's own checkpoint).",
    ),
    Preset(
        "gpt2-350m",
        (),
        "GPT-2 medium",
        {
            "model": _gpt2(24, 1024, 16, 1024),
            "optim": _optim(3e-4, 13_500, 700),
            "train": {"steps": 13_500, "batch": 512},
            "evaluate": {"every": 250},
            "checkpoint": {"every": 500},
        },
        "",
        "7B tokens: 20 per parameter.",
    ),
    Preset(
        "llama-1b",
        (),
        "RoPE, SwiGLU, GQA of 16 to 4 heads",
        {
            "model": {
                "family": "llama",
                "layers": 18,
                "width": 2048,
                "heads": 16,
                "kv_heads": 4,
                "context": 2048,
                "vocab": GPT2_VOCAB,
            },
            "optim": _optim(3e-4, 19_500, 2000, schedule="wsd"),
            "train": {"steps": 19_500, "batch": 512},
            "evaluate": {"every": 500},
            "checkpoint": {"every": 1000},
        },
        "",
        "20B tokens: 20 per parameter. wsd keeps the peak rate until the last fifth, so a longer run can branch off.",
    ),
)
RECIPES = (
    *OWN,
    GUIDE,
    TRUE_1B,
    *(_nanochat(depth) for depth in DEPTHS),
    *(_characters(depth) for depth in (24, 64)),
    SUPERBPE,
)
