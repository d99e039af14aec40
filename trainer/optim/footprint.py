"""What a training step holds in memory, by formula, and what each knob would save. Estimates, no torch.

Activations: Korthikanti et al. 2022, arXiv 2205.05198: s b h (34 + 5 a s / h) bytes per layer in 16 bits, the second
term being the attention matrix, which flash kernels (and SDPA's) never store. Selective checkpointing is counted as
the outputs of the products kept, full as the layer inputs (2 s b h) and one layer being recomputed.
State: 16 bytes per parameter (weight, gradient, two moments in fp32; or bf16 weight and gradient with fp32 master and
moments), cut by ZeRO as in Rajbhandari et al. 2020, arXiv 1910.02054.
"""

from __future__ import annotations

import dataclasses

from trainer.config import Config
from trainer.model.count import count
from trainer.model.families import sizes_of

WORTH = 0.01  # of all memory: less is not worth a word
LOGITS = 64 * 2**20  # bytes of fp32 logits at once, when train.loss_chunk is 0


def footprint(config: Config, micro: int, world: int) -> dict[str, float]:
    """Bytes on one rank: state, activations, logits, for `micro` windows of model.context tokens on `world` ranks."""
    return {
        "state": state(config, world),
        "activations": activations(config, micro, config.train.checkpointing),
        "logits": logits(config, micro),
    }


def state(config: Config, world: int) -> float:
    """Bytes of parameters, gradients and optimizer state on one rank's device."""
    stage, offload = config.parallel.zero, config.parallel.offload
    own = 4.0 if stage == 0 else 2.0
    muon = count(config.model).matrices * 4.0 if config.optim.name == "muon" else 0.0  # one moment instead of two
    held = {
        "parameters": own / (world if stage >= 3 else 1),
        "gradients": own / (world if stage >= 2 else 1),
        "optimizer": (8.0 if stage == 0 else 12.0) / (world if stage >= 1 else 1),
    }
    if offload in ("optimizer", "both"):
        held["optimizer"] = 0.0
    if offload in ("parameters", "both"):
        held["parameters"] = 0.0
    return count(config.model).total * sum(held.values()) - (muon if offload == "none" else 0.0)


def activations(config: Config, micro: int, checkpointing: str) -> float:
    """Bytes kept from forward to backward, all layers."""
    model = config.model
    sbh = float(micro * model.context * model.width) * (2.0 if config.precision.name == "fp32" else 1.0)
    ffn = sizes_of(model).ffn / (4 * model.width)
    layer = (15.0 + 19.0 * ffn) * sbh
    kept = {"none": layer, "selective": (10.0 + 8.0 * ffn) * sbh, "full": 2.0 * sbh}[checkpointing]
    return model.layers * kept + (layer if checkpointing == "full" else 0.0)


def logits(config: Config, micro: int) -> float:
    """Bytes of the logits that exist at once, in fp32, with their gradient."""
    whole = 8.0 * micro * config.model.context * config.model.vocab
    if config.train.loss_chunk < 0:
        return whole
    chunk = 8.0 * config.train.loss_chunk * config.model.vocab or 2.0 * LOGITS
    return min(whole, chunk)


def knobs(config: Config, micro: int, world: int) -> list[str]:
    """What to set, with the GB that it saves by these formulas; the most direct first, none that saves nothing."""
    before = sum(footprint(config, micro, world).values())
    advice = []
    if micro > 1:
        half = next(size for size in range(micro // 2, 0, -1) if micro % size == 0)
        saved = before - sum(footprint(config, half, world).values())
        advice.append(f"set train.micro_batch={half} (now {micro}; saves about {saved / 1e9:.1f} GB)")
    for name in ("selective", "full"):
        saved = activations(config, micro, config.train.checkpointing) - activations(config, micro, name)
        if saved > WORTH * before:
            advice.append(f"train.checkpointing={name} (saves about {saved / 1e9:.1f} GB)")
    if config.train.loss_chunk < 0:
        chunked = dataclasses.replace(config, train=dataclasses.replace(config.train, loss_chunk=0))
        saved = logits(config, micro) - logits(chunked, micro)
        advice.append(f"train.loss_chunk=0 (saves about {saved / 1e9:.1f} GB of logits)")
    return advice + _sharding(config, world)


def _sharding(config: Config, world: int) -> list[str]:
    now = state(config, world)
    if config.optim.name == "muon":
        return [] if world == 1 else ["optim.name=adamw with parallel.zero=1, 2 or 3: Muon's state cannot be sharded"]
    for stage in range(config.parallel.zero + 1, 4) if world > 1 else ():
        saved = now - state(_with(config, stage, config.parallel.offload), world)
        if saved > 0.1 * now or stage == 3:
            return [f"parallel.zero={stage} (saves about {saved / 1e9:.1f} GB on each of {world} ranks)"]
    if config.parallel.offload == "none":
        stage = config.parallel.zero or 1
        saved = now - state(_with(config, stage, "optimizer"), world)
        return [f"parallel.offload=optimizer with parallel.zero={stage} (saves about {saved / 1e9:.1f} GB; slower)"]
    return ["a smaller model or model.context"]


def _with(config: Config, zero: int, offload: str) -> Config:
    return dataclasses.replace(config, parallel=dataclasses.replace(config.parallel, zero=zero, offload=offload))
