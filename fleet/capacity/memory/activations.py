"""Bytes that one token leaves in one layer from forward to backward, tensor by tensor.

A tensor is kept when the derivative of an operation needs it (PyTorch's derivatives.yaml): a product with a trained
matrix its input, a norm its input, silu(g) * u both factors, flash attention q, k, v, the output and a log-sum-exp per
head. Held against the trainer's own models with torch.autograd.graph.saved_tensors_hooks in
tests/fleet/capacity/memory/test_activation_bytes.py, eager and through torch.compile's partitioner. Korthikanti et al.
(arXiv 2205.05198) count 34 bytes per token and width for a GELU block with dropout, of which 32 are these.
"""

from __future__ import annotations

from dataclasses import replace

from fleet.capacity.memory.engines import Engine
from fleet.capacity.setup import Setup
from fleet.capacity.shape import Shape
from fleet.capacity.widths import eight_bits, element

Kept = dict[str, float]
ANY_WIDTH = ("log-sum-exp", "norm inputs")  # counted in the width they have


def kept(setup: Setup, engine: Engine) -> Kept:
    """Bytes per token and layer with `setup.checkpointing`."""
    times = element(setup.precision) / 2.0
    return {name: size if name in ANY_WIDTH else times * size for name, size in _kept(setup, engine).items()}


def _kept(setup: Setup, engine: Engine) -> Kept:
    if setup.checkpointing == "full":
        return {"block input": 2.0 * setup.shape.width}
    if setup.checkpointing == "selective":
        return _every_second(setup.shape) if engine.selective == "every-second" else _products(setup)
    return _block(setup, engine)


def block(setup: Setup, engine: Engine) -> Kept:
    """Bytes per token of a layer of which everything is kept: no checkpointing, or one layer being recomputed."""
    return kept(replace(setup, checkpointing="none"), engine)


def _block(setup: Setup, engine: Engine) -> Kept:
    if setup.adapter is not None:
        found = _frozen(setup, engine)
    else:
        found = _compiled(setup.shape) if setup.compile else _eager(setup, engine.fused_qkv)
        if eight_bits(setup.precision):
            found |= _fp8(setup.shape, engine)
    return found | scores(setup)


def scores(setup: Setup) -> Kept:
    """Attention that is not flash keeps the softmax of every head: 16 bits, and an fp32 one where it was computed."""
    if setup.attention != "math":
        return {"log-sum-exp": 4.0 * setup.shape.heads}
    return {"attention scores": 6.0 * setup.shape.heads * setup.length}


def passing(setup: Setup) -> float:
    """Bytes per token of gradients on their way through one layer: of the stream, and of what is inside the MLP."""
    shape = setup.shape
    inner = shape.ffn * (2 if shape.gated else 1)
    return element(setup.precision) * (2 * shape.width + inner + shape.ffn)


def norm_input(setup: Setup) -> float:
    """Bytes per token that one norm keeps of what goes into it.

    LayerNorm and fused RMSNorm keep their 16-bit input; RMSNorm made of operations (CPU, PyTorch before 2.8, models
    that write it out) an fp32 one, and with a trained weight the normalised one.
    """
    if setup.compile or setup.shape.norm_vectors == 2:
        return element(setup.precision) * setup.shape.width
    weight = setup.shape.norm_vectors == 1 and setup.adapter is None
    return (8.0 if weight else 4.0) * setup.shape.width


def _qk_norm(shape: Shape) -> bool:
    """A family whose norms have no weights normalises queries and keys too (nanochat)."""
    return shape.qk_norm or shape.norm_vectors == 0


def _qkv(shape: Shape, fused: bool) -> Kept:
    q, k = shape.query_width, shape.key_width
    found = {"q, k, v": 2.0 * (q + 2 * k), "attention output": 2.0 * q}
    if not shape.learned_positions and fused:
        found["rotated q, k"] = 2.0 * (q + k)
    return found


def _eager(setup: Setup, fused: bool) -> Kept:
    shape = setup.shape
    h, f, q, k = shape.width, shape.ffn, shape.query_width, shape.key_width
    found = _qkv(shape, fused)
    found["norm outputs"] = 2.0 * h * shape.norms
    found["norm inputs"] = norm_input(setup) * shape.norms
    if _qk_norm(shape):
        found["q, k normalised"] = 4.0 * (q + k)
    found["MLP"] = 2.0 * f * (4 if shape.gated else 2)
    return found


def _compiled(shape: Shape) -> Kept:
    """The compiler's partitioner keeps products and the stream, and recomputes what is cheap."""
    h, f, q, k = shape.width, shape.ffn, shape.query_width, shape.key_width
    found = _qkv(shape, True)
    found["norm outputs"] = 2.0 * h * shape.norms
    found["stream"] = 4.0 * h if shape.gated else 6.0 * h
    if _qk_norm(shape):
        found["q, k normalised"] = 2.0 * (q + k)
    found["MLP"] = 2.0 * f * (3 if shape.gated else 2)
    return found


def _products(setup: Setup) -> Kept:
    """The trainer's own (trainer/model/blocks.py): inputs of its regions and what lies between them."""
    shape = setup.shape
    h, f, q, k = shape.width, shape.ffn, shape.query_width, shape.key_width
    found = _qkv(shape, True) | {"stream": 4.0 * h, "log-sum-exp": 4.0 * shape.heads}
    if _qk_norm(shape):
        found["q, k normalised"] = (2.0 if setup.compile else 4.0) * (q + k)
    if shape.gated:
        found["gate and up"] = 4.0 * f
        found["second norm"] = 2.0 * h if setup.compile or shape.norm_vectors == 2 else 8.0 * h
    elif not setup.compile:
        found["up"] = 2.0 * f
    return found


def _every_second(shape: Shape) -> Kept:
    """torchtitan's "op" policy: the block's input, attention, and every second of q, k, v, o, gate, up, down."""
    outputs = [shape.query_width, shape.key_width, shape.key_width, shape.width]
    outputs += [shape.ffn, shape.ffn, shape.width] if shape.gated else [shape.ffn, shape.width]
    return {
        "block input": 2.0 * shape.width,
        "every second product": 2.0 * sum(outputs[::2]),
        "attention output": 2.0 * shape.query_width + 4.0 * shape.heads,
    }


def _fp8(shape: Shape, engine: Engine) -> Kept:
    """FP8 products keep their input in FP8; of attention's output beside the 16-bit one that its backward needs."""
    if engine.fp8_inputs == 2:
        return {}
    mlp = 2.0 * shape.ffn * (2 if shape.gated else 1) + shape.ffn
    return {"norm outputs": 1.0 * shape.width * shape.norms, "output in FP8": 1.0 * shape.query_width, "MLP": mlp}


def _frozen(setup: Setup, engine: Engine) -> Kept:
    """Low-rank fine-tuning: products with frozen matrices keep nothing, an adapter its input and dropout's mask.

    4-bit products (bitsandbytes' MatMul4Bit) keep their input although their matrix is frozen.
    """
    shape, adapter = setup.shape, setup.adapter
    assert adapter is not None
    h, f, q, k = shape.width, shape.ffn, shape.query_width, shape.key_width
    ups = 2 if shape.gated else 1
    found = {"norm inputs": norm_input(setup) * shape.norms}
    if k < q:  # keys and values are repeated for every query head, and rotated
        found["q, k, v"] = 6.0 * q
    else:
        found["q, k, v"] = 2.0 * (q + 2 * k)
        found["rotated q, k"] = 2.0 * (q + k)
    found["attention output"] = 2.0 * q
    found["MLP"] = 2.0 * f * ((2 if setup.compile else 3) if shape.gated else 1)
    wide = {"qkv": h, "o": q, "mlp": ups * h + f}
    asked = {"qkv": {"q", "k", "v"}, "o": {"o"}, "mlp": {"mlp"}}
    found["adapter inputs"] = sum(
        engine.mask * wide[name] for name, ones in asked.items() if ones & set(adapter.targets)
    )
    if adapter.quantised and engine.four_bit_inputs:
        found["4-bit products' inputs"] = 2.0 * (h * shape.norms + f)
    return found
