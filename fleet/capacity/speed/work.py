"""Seconds of computing one micro-batch on one GPU: products, attention, head, memory-bound work, recomputation."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.capacity.setup import Setup
from fleet.capacity.speed.constants import Constants
from fleet.capacity.speed.error import OWN
from fleet.capacity.speed.hardware import attention_rate, sustained, wide
from fleet.capacity.widths import eight_bits

TILE = 128 * 256  # results of a product that one multiprocessor computes at a time
BLOCK = 128  # queries and keys of one attention tile
ADAPTER_TRAFFIC = 4  # bytes per token and element that an adapter adds to its matrix's inputs and outputs


@dataclass(frozen=True, slots=True)
class Matrix:
    """A linear layer's matrix as one GPU holds it. last: in its block, recomputation may stop before it."""

    inputs: int
    outputs: int
    last: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """Seconds of one micro-batch."""

    matrices: float
    attention: float
    head: float
    memory_bound: float
    recompute: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.matrices + self.attention + self.head + self.memory_bound + self.recompute


def work(setup: Setup, constants: Constants) -> Work:
    """One forward and backward pass of `micro_batch` sequences through the layers this GPU holds."""
    tokens = setup.micro_batch * setup.length / setup.context_parallel
    layers = setup.shape.layers / setup.pipeline
    eight_bit = eight_bits(setup.precision)
    passes = 2 if setup.adapter else 3  # frozen matrices have no gradients of their own
    once = {m: product(setup, m, tokens, constants, eight_bit) for m in matrices(setup)}
    forward = attention_forward(setup, tokens, constants)
    traffic = elementwise(setup, tokens, constants)
    head = passes * product(setup, Matrix(setup.shape.width, setup.shape.vocab // setup.tensor), tokens, constants)
    head += constants.logits * tokens * setup.shape.vocab / setup.tensor / (setup.gpu.bandwidth_gbs * 1e9)
    again = 0.0
    if setup.checkpointing == "full":
        again = sum(t * (constants.recompute if m.last else 1.0) for m, t in once.items()) + forward + traffic / 3
    elif setup.checkpointing == "selective":  # elementwise work, not attention; others' every second product too
        products = 0.0 if setup.engine in OWN else sum(once.values()) / 2
        again = products + traffic / 3
    return Work(
        matrices=layers * passes * sum(once.values()),
        attention=layers * forward * 3.5,
        head=head / setup.pipeline,
        memory_bound=layers * traffic,
        recompute=layers * again,
    )


def matrices(setup: Setup) -> list[Matrix]:
    """Of one block, cut by tensor parallelism: outputs of the first, inputs of the second of each pair."""
    shape, cut = setup.shape, setup.tensor
    up = shape.ffn * (2 if shape.gated else 1)
    return [
        Matrix(shape.width, (shape.query_width + 2 * shape.key_width) // cut),
        Matrix(shape.query_width // cut, shape.width),
        Matrix(shape.width, up // cut),
        Matrix(shape.ffn // cut, shape.width, last=True),
    ]


def product(setup: Setup, matrix: Matrix, tokens: float, constants: Constants, eight_bit: bool = False) -> float:
    """Seconds of one of the three products: forward, of the inputs' gradients, of the weights' gradients."""
    gpu = setup.gpu
    rate = sustained(gpu, constants, setup.precision if eight_bit else wide(setup.precision))
    flops = 2.0 * tokens * matrix.inputs * matrix.outputs
    size = 1 if eight_bit else 2
    elements = tokens * matrix.inputs + matrix.inputs * matrix.outputs
    moved = constants.operands * (size * elements + 2 * tokens * matrix.outputs)
    if eight_bit:
        moved += constants.quantise * elements
    half_wave = TILE * matrix.inputs * gpu.sms
    return (flops + half_wave) / rate + moved / (gpu.bandwidth_gbs * 1e9)


def attention_forward(setup: Setup, tokens: float, constants: Constants) -> float:
    """Seconds of one layer's attention, forward; the backward takes 2.5 times as many FLOPs (FlashAttention-2)."""
    seen = setup.shape.attended_causally(setup.length) / setup.shape.layers
    seen = min(setup.length, seen + BLOCK / 2)  # tiles on the diagonal are computed whole
    flops = 4.0 * tokens * seen * setup.shape.query_width / setup.tensor
    slower = min(1.0, (setup.gpu.peak_for(wide(setup.precision)) or 0.0) / setup.gpu.peak["bf16"])  # fp32, tf32
    seconds = flops / (attention_rate(setup.gpu, constants, setup.attention) * slower)
    if setup.attention == "math":  # the scores are written and read: Korthikanti et al., arXiv 2205.05198, 5 a s^2 b
        scores = 5.0 * tokens * setup.length * setup.shape.heads / setup.tensor
        seconds = 2 * seconds + 2 * scores / (setup.gpu.bandwidth_gbs * 1e9)
    return seconds


def elementwise(setup: Setup, tokens: float, constants: Constants) -> float:
    """Seconds of one layer's norms, residuals, activation function, rotation, casts: forward and backward."""
    shape = setup.shape
    inner = shape.ffn * (2 if shape.gated else 1) / setup.tensor
    elements = tokens * (shape.width + inner / 4)  # of a GPT block: 2 x width
    bytes_each = constants.eager * (constants.fused if setup.compile else 1.0)
    return bytes_each * elements / (setup.gpu.bandwidth_gbs * 1e9)
