"""What a training step holds in memory, by formula, and what each knob would save. Estimates, no torch.

Activations are counted tensor by tensor: a tensor is kept when the derivative of an operation needs it (PyTorch's
derivatives.yaml): a product keeps its input, a norm its input, SwiGLU both factors, flash attention q, k, v, its output
and a log-sum-exp per head. tests/trainer/optim/test_footprint.py holds that against what autograd really keeps.
Dropout's masks and attention that is not flash are left out. State is cut by ZeRO as in Rajbhandari et al. 2020, arXiv
1910.02054, with the gradients as DeepSpeed 0.19 really keeps them.
"""

from __future__ import annotations

import dataclasses

from trainer.config import Config
from trainer.model.count import count
from trainer.model.families import Sizes, family_of, sizes_of

WORTH = 0.01  # of all memory: less is not worth a word
# An automatic chunk of logits, as trainer/model/loss.py takes it on a GPU (that file needs torch).
LOGIT_BYTES, GPU_TOKENS, GPU_LOGIT_BYTES = 64 * 2**20, 2048, 2**30
LIVE = 10**9  # parameters that stage 3 leaves whole (DeepSpeed's stage3_max_live_parameters)


def footprint(config: Config, micro: int, world: int) -> dict[str, float]:
    """Bytes on one rank: state, copies, activations, logits, for `micro` windows of model.context tokens on `world`
    ranks, at the fuller of two moments: as the last logits exist, and as backward enters the last block.

    The gradients count at both, as they exist then with several ranks or several micro-batches in a step.
    """
    kept, held = activations(config, micro), {"state": state(config, world)}
    cast, whole = copies(config), gathered(config, world)
    loss = {"copies": cast + whole, "activations": kept, "logits": logits(config, micro)}
    # With full checkpointing autocast copies a block's matrices as it is recomputed: one block's, not counted.
    left = whole if config.train.checkpointing == "full" else cast + whole
    after = {"copies": left, "activations": kept + one_layer(config, micro), "logits": _head(config, micro)}
    return max((held | loss, held | after), key=lambda parts: sum(parts.values()))


def state(config: Config, world: int) -> float:
    """Bytes of parameters, gradients and optimizer state on one rank's device.

    Without ZeRO 4 + 4 + 8 per parameter, all fp32. With it 2 + 4 + 12: 16-bit weights, an fp32 sum of gradients (stage
    1 keeps the 16-bit gradient beside it), fp32 masters and moments; in fp32 the weights are 4.
    """
    stage, offload = config.parallel.zero, config.parallel.offload
    own = 4.0 if stage == 0 or config.precision.name == "fp32" else 2.0
    muon = count(config.model).matrices * 4.0 if config.optim.name == "muon" else 0.0  # one moment instead of two
    held = {
        "parameters": own / (world if stage >= 3 else 1),
        "gradients": 6.0 if stage == 1 and own == 2.0 else 4.0 / (world if stage >= 2 else 1),
        "optimizer": (8.0 if stage == 0 else 12.0) / (world if stage >= 1 else 1),
    }
    if offload in ("optimizer", "both"):
        held["optimizer"] = 0.0
        held["gradients"] *= stage < 2  # from stage 2 on they are summed where the optimizer is
    if offload in ("parameters", "both"):
        held["parameters"] = 0.0
    return count(config.model).total * sum(held.values()) - (muon if offload == "none" else 0.0)


def copies(config: Config) -> float:
    """Bytes of the blocks' matrices in 16 bits, as autocast has them without ZeRO, or in FP8."""
    stage = config.parallel.zero
    cast = config.precision.name != "fp32" if stage == 0 else _fp8(config) and stage < 3
    return 2.0 * count(config.model).matrices * cast


def gathered(config: Config, world: int) -> float:
    """Bytes of ZeRO's buckets on several ranks (reduce and gather, two of each), and of what stage 3 makes whole."""
    stage = config.parallel.zero
    if stage == 0 or world == 1:
        return 0.0
    buckets = 4.0 * config.parallel.bucket_mb * 2**20
    return buckets + (2.0 * min(LIVE, count(config.model).total) if stage == 3 else 0.0)


def activations(config: Config, micro: int) -> float:
    """Bytes kept from forward to backward, all layers."""
    return micro * config.model.context * config.model.layers * per_token(config, config.train.checkpointing)


def one_layer(config: Config, micro: int) -> float:
    """Bytes of the layer that is in backward: what checkpointing left out and is recomputed, and the gradients."""
    sizes, gated = sizes_of(config.model), family_of(config.model).activation == "swiglu"
    passing = 2.0 * _wide(config) * (2 * config.model.width + (3 if gated else 2) * sizes.ffn)
    missing = per_token(config, "none") - per_token(config, config.train.checkpointing)
    return micro * config.model.context * (passing + max(0.0, missing))


def per_token(config: Config, checkpointing: str) -> float:
    """Bytes that a token leaves in one layer; torch.compile keeps products and the stream, and recomputes the rest."""
    family, sizes, compiled = family_of(config.model), sizes_of(config.model), config.train.compile
    wide, h, f = _wide(config), config.model.width, sizes.ffn
    gated = family.activation == "swiglu"
    if checkpointing == "full":
        return 2.0 * wide * h
    kept = _attention(config, sizes)
    if checkpointing == "selective":
        kept += 4 * h + (4 * f + _norm_input(config) if gated else 2 * f * (not compiled))
        return wide * kept
    eight = _fp8(config)  # such products keep their inputs in 8 bits: of attention's output one more
    kept += (2 if eight else 4) * h + sizes.heads * sizes.head_dim * eight
    kept += (4 if gated else 6) * h if compiled else 2 * _norm_input(config)
    if eight:
        kept += (5 if gated else 3) * f
    else:
        kept += (6 if compiled else 8) * f if gated else 4 * f
    return wide * kept


def logits(config: Config, micro: int) -> float:
    """Bytes of the logits that exist at once: their 16 bits and slope around an fp32 softmax (fp32: in place), a soft
    cap's fp32 tanh; and of what the loss leaves for backward."""
    each = 16.0 if family_of(config.model).soft_cap else 8.0
    return each * _chunk(config, micro) * config.model.vocab + _head(config, micro)


def _head(config: Config, micro: int) -> float:
    """The head's fp32 gradient and autocast's copy of its matrix; hidden states, their gradient, the norm's input."""
    wide, model = _wide(config), config.model
    cast = 2.0 if config.parallel.zero == 0 and config.precision.name != "fp32" else 0.0
    hidden = wide * (4.0 * model.width + _norm_input(config))
    return (4.0 + cast) * model.vocab * model.width + hidden * micro * model.context


def _chunk(config: Config, micro: int) -> int:
    whole, row = micro * config.model.context, 4 * config.model.vocab
    if config.train.loss_chunk < 0:
        return whole
    fits = max(LOGIT_BYTES // row, min(GPU_TOKENS, GPU_LOGIT_BYTES // row), 1)
    return min(whole, config.train.loss_chunk or fits)


def _attention(config: Config, sizes: Sizes) -> float:
    """q, k, v, the output and the log-sum-exp; q and k once more as they are rotated, twice more as they are normalised
    in fp32."""
    family, q, k = family_of(config.model), sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    kept = 2 * (q + 2 * k) + 2 * q + 4 * sizes.heads + 2 * (q + k) * bool(family.rope)
    return kept + (2 if config.train.compile else 4 / _wide(config)) * (q + k) * family.qk_norm


def _norm_input(config: Config) -> float:
    """Of one norm, to be multiplied by _wide. RMSNorm made of operations keeps an fp32 input, with a weight also the
    normalised one; LayerNorm and compiled norms keep what they are given."""
    kind, h = family_of(config.model).norm, config.model.width
    if kind == "layer" or config.train.compile:
        return 2.0 * h
    return (8.0 if kind == "rms" else 4.0) * h / _wide(config)


def _wide(config: Config) -> float:
    """How much wider than 16 bits the stream is."""
    return 2.0 if config.precision.name == "fp32" else 1.0


def _fp8(config: Config) -> bool:
    return config.precision.name.startswith(("fp8", "mxfp8", "nvfp4"))


def knobs(config: Config, micro: int, world: int) -> list[str]:
    """What to set, with the GB that it saves by these formulas; the most direct first, none that saves nothing."""
    before = _total(config, micro, world)
    advice = []
    if micro > 1:
        half = next(size for size in range(micro // 2, 0, -1) if micro % size == 0)
        saved = before - _total(config, half, world)
        advice.append(f"set train.micro_batch={half} (now {micro}; saves about {saved / 1e9:.1f} GB)")
    for name in ("selective", "full"):
        saved = before - _total(_with(config, "train", checkpointing=name), micro, world)
        if saved > WORTH * before:
            advice.append(f"train.checkpointing={name} (saves about {saved / 1e9:.1f} GB)")
    if config.train.loss_chunk < 0:
        saved = before - _total(_with(config, "train", loss_chunk=0), micro, world)
        if saved > WORTH * before:
            advice.append(f"train.loss_chunk=0 (saves about {saved / 1e9:.1f} GB of logits)")
    return advice + _sharding(config, micro, world)


def _sharding(config: Config, micro: int, world: int) -> list[str]:
    now = _total(config, micro, world)
    if config.optim.name == "muon":
        return [] if world == 1 else ["optim.name=adamw with parallel.zero=1, 2 or 3: Muon's state cannot be sharded"]
    for stage in range(config.parallel.zero + 1, 4) if world > 1 else ():
        saved = now - _total(_with(config, "parallel", zero=stage), micro, world)
        if saved > (WORTH if stage == 3 else 0.1) * now:
            return [f"parallel.zero={stage} (saves about {saved / 1e9:.1f} GB on each of {world} ranks)"]
    if config.parallel.offload == "none":
        stage = max(2, config.parallel.zero)  # from 2 on the gradients go too
        saved = now - _total(_with(config, "parallel", zero=stage, offload="optimizer"), micro, world)
        return [f"parallel.offload=optimizer with parallel.zero={stage} (saves about {saved / 1e9:.1f} GB; slower)"]
    return ["a smaller model or model.context"]


def _total(config: Config, micro: int, world: int) -> float:
    return sum(footprint(config, micro, world).values())


def _with(config: Config, section: str, **values: object) -> Config:
    changed = dataclasses.replace(getattr(config, section), **values)
    return dataclasses.replace(config, **{section: changed})
