"""The flags of `plan`, by what they are about, and their values as they were typed. Imports nothing: it is listed."""

from __future__ import annotations

from dataclasses import dataclass, field

SECTIONS: dict[str, dict[str, str]] = {
    "Model (none: the profile's)": {
        "profile": "Profile name or path: its model, batch, precision, ZeRO stage and machine.",
        "preset": "A configuration of the trainer, such as gpt2-1b or d24.",
        "model": "A known open model (llama-3-8b, mpt-1b, ...) or a preset.",
        "model-size": "small, medium, large, xlarge: nanochat of depth 12, 20, 32, 48.",
        "depth": "nanochat's dial: so many layers, 64 of width each.",
        "layers": "Blocks; with --width and --heads, or over a profile's.",
        "width": "Elements of the residual stream.",
        "heads": "Attention heads; they divide the width.",
        "vocab": "Rows of the embedding.",
        "set": "Any other key as in `train --set`: model.family=llama. Repeatable.",
    },
    "Training": {
        "length": "Tokens of a sequence.",
        "batch": "Sequences of one optimizer step, over all GPUs.",
        "batch-tokens": "The same in tokens.",
        "device-batch-size": "Sequences at once on one GPU; left out: what fits and is fastest.",
        "precision": "auto, bf16, fp8-current, mxfp8, ...",
        "zero": "ZeRO stage 0 to 3; left out: what is fastest.",
        "offload": "none, optimizer, parameters, both.",
        "checkpointing": "Of activations: none, selective, full; left out: what is fastest.",
        "optimizer": "adamw or muon.",
    },
    "Goal (one of them; none: the preset's steps, else 20 tokens per parameter)": {
        "tokens": "To train on: 51.6B.",
        "steps": "Optimizer steps.",
        "epochs": "Passes over --dataset-tokens.",
        "hours": "What they buy.",
        "budget": "USD in all: what they buy.",
        "dataset-tokens": "Distinct tokens there are.",
    },
    "Machine and money": {
        "gpu": "Type, as in a profile; repeatable or a,b; or all.",
        "gpu-count": "Of one machine; repeatable or 1,2,4,8.",
        "price": "USD per GPU-hour: 2.49, or h100-sxm=2.49,a100-80-sxm=1.5. Left out: providers are asked.",
        "max-price": "Most USD per hour of the whole machine.",
        "spot": "Interruptible machines: their offers, and what interruptions cost.",
        "network": "Between machines: infiniband or ethernet; left out: infiniband for SXM cards, else ethernet.",
        "link-mbit": "Upload and download of the machine, Mbit/s.",
        "offline": "Ask no provider.",
    },
    "Somebody's promise": {
        "claim": "Tokens/s that somebody promises on this machine: can it be?",
    },
    "A run of one's own": {
        "run": "Run folder: what remains of it.",
        "learn": "Run folder: keep what it measured, for this and later plans.",
    },
    "Output": {
        "table": "Also the largest micro-batch by GPU and sequence length.",
        "sources": "Where each number comes from.",
        "plot": "Write the plan as a page: out.html.",
        "json": "Print one JSON document on standard output.",
    },
}
HELP = {name: text for section in SECTIONS.values() for name, text in section.items()}
REPEATED = ("gpu", "gpu_count", "set")


@dataclass(frozen=True)
class Flags:
    """What was typed; an empty text is a flag that was left out."""

    profile: str = ""
    preset: str = ""
    model: str = ""
    model_size: str = ""
    depth: str = ""
    layers: str = ""
    width: str = ""
    heads: str = ""
    vocab: str = ""
    set: list[str] = field(default_factory=list)
    length: str = ""
    batch: str = ""
    batch_tokens: str = ""
    device_batch_size: str = ""
    precision: str = ""
    zero: str = ""
    offload: str = ""
    checkpointing: str = ""
    optimizer: str = ""
    tokens: str = ""
    steps: str = ""
    epochs: str = ""
    hours: str = ""
    budget: str = ""
    dataset_tokens: str = ""
    gpu: list[str] = field(default_factory=list)
    gpu_count: list[str] = field(default_factory=list)
    price: str = ""
    max_price: str = ""
    spot: bool = False
    network: str = ""
    link_mbit: str = ""
    offline: bool = False
    claim: str = ""
    run: str = ""
    learn: str = ""
    table: bool = False
    sources: bool = False
    plot: str = ""
    json: bool = False
