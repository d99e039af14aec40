"""A plan's JSON document as `inv plan --json` prints it, written by hand with numbers of the right size."""

from __future__ import annotations

from typing import Any

GB = 10**9
TERMS = (
    # name, share of the example's 78 GB, source, knob
    ("weights", 2.77, "2 B/parameter, bf16", "precision.dtype"),
    ("master weights", 5.54, "4 B/parameter, fp32", "precision.master"),
    ("gradients", 2.77, "2 B/parameter, bf16", ""),
    ("optimizer state", 11.07, "AdamW, 8 B/parameter", "train.zero"),
    ("activations", 34.9, "34 s b h per layer, arXiv 2205.05198", "train.micro_batch"),
    ("logits and loss", 4.3, "8,192 tokens at once, bf16 and fp32", "train.loss_chunk"),
    ("communication buckets", 1.0, "0.5e9 x 2 B", "train.bucket"),
    ("fragmentation", 2.4, "4% of what is allocated", ""),
    ("CUDA context", 0.55, "constant", ""),
    ("NCCL", 0.35, "constant", ""),
)
MACHINES = (
    # gpu, gpus, USD per GPU-hour, tokens/s of all, capacity, micro-batch, factor on the memory, verdict
    ("h100-sxm", 8, 2.39, 792_000, 84.4, 16, 1.0, "fits"),
    ("h100-sxm", 4, 2.39, 401_000, 84.4, 16, 1.04, "fits"),
    ("h100-sxm", 1, 2.49, 101_000, 84.4, 16, 1.1, "tight"),
    ("h100-pcie", 8, 1.99, 512_000, 84.4, 16, 1.0, "fits"),
    ("h200-sxm", 8, 3.59, 838_000, 149.2, 32, 1.7, "fits"),
    ("b200", 8, 5.49, 1_610_000, 190.1, 32, 1.75, "fits"),
    ("b200", 4, 5.49, 812_000, 190.1, 32, 1.79, "fits"),
    ("a100-80-sxm", 8, 1.59, 331_000, 84.4, 16, 1.0, "fits"),
    ("a100-80-sxm", 4, 1.59, 166_500, 84.4, 16, 1.04, "fits"),
    ("l40s", 8, 0.86, 131_000, 47.6, 4, 0.55, "fits"),
    ("rtx4090", 8, 0.44, 104_000, 24.9, 1, 0.33, "tight"),
    ("rtx4090", 1, 0.44, 13_900, 24.9, 1, 0.71, "refused"),
    ("rtx3090", 4, 0.22, 20_000, 24.9, 1, 3.9, "refused"),
)
TOKENS = 8.76e9


def figure(value: float, unit: str, source: str, spread: float = 0.0) -> dict[str, Any]:
    """A number of the document; spread: 0.15 for 15% to both sides."""
    low, high = (value * (1 - spread), value * (1 + spread)) if spread else (None, None)
    return {"value": value, "unit": unit, "low": low, "high": high, "source": source}


def memory(capacity: float, factor: float, verdict: str) -> dict[str, Any]:
    """A bar of the terms above, the activations taking what the factor changes."""
    terms = [
        {"name": name, "bytes": size * factor * GB, "source": source, "knob": knob}
        for name, size, source, knob in TERMS
    ]
    total = sum(term["bytes"] for term in terms)
    ends = {"low": total * 0.94, "high": total * 1.07}
    phase = "backward of the last layer"
    return {"terms": terms, "total": total, **ends, "capacity": capacity * GB, "verdict": verdict, "phase": phase}


def machine(row: tuple[str, int, float, int, float, int, float, str]) -> dict[str, Any]:
    """A row of `choices`."""
    gpu, gpus, price, rate, capacity, micro, factor, verdict = row
    hours = TOKENS / rate / 3600 + 0.22
    runs = verdict != "refused"
    source = f"{TOKENS:.3g} tokens at {rate:,} tokens/s and 13 minutes of start"
    return {
        "gpu": gpu,
        "gpus": gpus,
        "micro_batch": micro,
        "verdict": verdict,
        "hours": figure(hours, "h", source, 0.14) if runs else None,
        "dollars": figure(hours * gpus * price, "USD", "hours x GPUs x price", 0.14) if runs else None,
        "price": figure(price, "USD/GPU-hour", f"offer of a provider, seen 2026-11-20, {gpu}"),
        "tokens_per_second": figure(rate, "tokens/s", "speed model, published rows", 0.13) if runs else None,
        "memory": memory(capacity, factor, verdict),
        "why": "bf16: FP8 gains nothing at this width" if runs else "more than the GPU has",
    }


def batch_table() -> list[dict[str, Any]]:
    """Rows of the batch table."""
    cards = {"rtx4090": 24, "l40s": 48, "a100-80-sxm": 80, "h100-sxm": 80, "h200-sxm": 141, "b200": 180}
    rows = []
    for gpu, size in cards.items():
        for length in (512, 1024, 2048, 4096, 8192, 16384, 32768):
            micro = max(0, int((size - 23) * 2048 * 0.4 / length))
            rows.append(
                {"gpu": gpu, "length": length, "precision": "bf16", "micro_batch": micro, "checkpointing": "none"}
            )
            rows[-1] |= {"tokens": micro * length, "tokens_per_second": 51_300.7 if micro else 0.0, "why": ""}
    return rows


def document(**changes: Any) -> dict[str, Any]:
    """The whole document; changes replace its top-level parts."""
    choices = [machine(row) for row in MACHINES]
    chosen = choices[0]
    hours = chosen["hours"]["value"]
    seconds = {"matrices": 0.418, "attention": 0.071, "head": 0.052, "memory-bound": 0.066, "communication": 0.021}
    seconds |= {"optimizer": 0.019, "offload": 0.0, "launch": 0.015}
    whole = {
        "question": {"model": "nanochat-d24", "gpu": "h100-sxm", "gpus": 8, "tokens": 8_760_000_000, "dollars": 90.0}
        | {"max_price": 22.0, "spot": False, "lengths": [2048]},
        "model": {
            "name": "nanochat d24",
            "parameters": figure(1_384_000_000, "", "counted from the dimensions"),
            "counts": {"matrices": 679_477_248},
            "flops_per_token": figure(4.94e9, "FLOP", "6 P + 12 L h s (PaLM, arXiv 2204.02311)"),
        },
        "chosen": {
            "gpu": "h100-sxm",
            "gpus": 8,
            "verdict": "fits",
            "setup": {"gpu": "h100-sxm", "gpus": 8, "precision": "bf16", "zero": 2, "micro_batch": 16, "length": 2048}
            | {"accumulation": 2, "checkpointing": "none", "optimizer": "adamw", "offload": "none"},
            "memory": chosen["memory"],
            "speed": {
                "per_gpu": figure(99_000, "tokens/s", "speed model, published rows", 0.13),
                "total": figure(792_000, "tokens/s", "speed model, published rows", 0.13),
                "mfu_bf16": figure(49.4, "%", "of 989 TFLOP/s dense bf16", 0.13),
                "parts": seconds,
                "warnings": ["the range comes from published runs: none of yours was measured yet"],
            },
            "bill": {
                "hours": chosen["hours"],
                "dollars": chosen["dollars"],
                "steps": 16_708,
                "parts": {"training": hours - 0.22, "start_up": 0.12, "evaluation": 0.06, "saves": 0.03, "lost": 0.01},
            },
        },
        "choices": choices,
        "table": batch_table(),
        "advice": ["6.3 tokens per parameter: the run is short for this size", "2 epochs over the data: harmless"],
        "warnings": ["prices are an hour old"],
        "sources": ["speed: 108 published rows, https://example.org/rows (text only)"],
    }
    return whole | changes
