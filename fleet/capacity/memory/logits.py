"""What the head and the loss hold: often the largest single term, and the one that whole plans have forgotten."""

from __future__ import annotations

from fleet.capacity.memory.activations import norm_input
from fleet.capacity.memory.engines import Engine
from fleet.capacity.memory.stage import Stage
from fleet.capacity.memory.term import Term
from fleet.capacity.setup import Setup
from fleet.capacity.widths import element, wide

LOGIT_BYTES = 64 * 2**20  # trainer/model/loss.py: of fp32 logits in an automatic chunk
GPU_TOKENS = 2048  # ... but at least so many tokens on a GPU
GPU_LOGIT_BYTES = 2**30  # ... unless their logits pass this

# Bytes of each logit at the worst moment.
EAGER = (
    12.0  # log_softmax's fp32 result, the gradient that comes and the gradient that goes (ATen: LogSoftMax backward)
)
LORA_CHUNK = 128.0  # tokens of a chunk in programs for low-rank fine-tuning (litgpt, lm_head_chunk_size)
EAGER_16 = 6.0  # the same three on 16-bit logits, which are not made fp32 first
PARALLEL = 20.0  # cut over the vocabulary the same is written out in tensor operations, with two more fp32 copies
FUSED = 4.0  # 16-bit logits and their 16-bit gradient; fp32 only inside one kernel


def chunk_tokens(setup: Setup, tokens: float) -> float:
    """Tokens whose logits exist at once, by the rule of trainer/model/loss.py."""
    if setup.loss_chunk < 0:
        return tokens
    if setup.loss_chunk:
        return min(float(setup.loss_chunk), tokens)
    vocab = 4 * setup.shape.vocab
    return min(float(max(LOGIT_BYTES // vocab, min(GPU_TOKENS, GPU_LOGIT_BYTES // vocab), 1)), tokens)


def loss(setup: Setup, engine: Engine, stage: Stage, tokens: float) -> list[Term]:
    """Terms at the end of forward. tokens: on this GPU at once."""
    if not stage.last:
        return []
    if engine.loss == "chunks":
        return _own(setup, engine, tokens)
    each, source = _each(setup, engine)
    vocab = setup.shape.vocab / setup.tensor
    hidden = (element(setup.precision) * setup.shape.width + norm_input(setup)) * tokens / setup.tensor
    if setup.loss_chunk >= 0 or setup.adapter is not None:
        return _chunked(setup, engine, tokens, vocab, hidden)
    return [
        Term("logits and loss", each * tokens * vocab, source, "train.loss_chunk"),
        Term("hidden states", hidden, "input of head and norm"),
    ]


def _chunked(setup: Setup, engine: Engine, tokens: float, vocab: float, hidden: float) -> list[Term]:
    """All logits are made, chunk by chunk, and kept as they are made; the softmax is taken of a chunk."""
    chunk = chunk_tokens(setup, tokens) if setup.loss_chunk >= 0 else min(tokens, LORA_CHUNK)
    if engine.loss == "fp32":
        whole, passing, source = 8.0, EAGER, "fp32 logits and log-softmax as a whole, gradients by chunks"
    elif setup.compile:
        whole, passing, source = 2.0, FUSED, "16-bit logits, or their gradient, as a whole; the rest by chunks"
    else:
        whole, passing, source = 6.0, EAGER, "16-bit logits and fp32 log-softmax as a whole, gradients by chunks"
    if setup.adapter is not None and "head" in setup.adapter.targets:
        hidden += engine.mask * setup.shape.width * tokens
    return [
        Term("logits and loss", (whole * tokens + passing * chunk) * vocab, source, "train.loss_chunk"),
        Term("hidden states", hidden, "input of head and norm"),
    ]


def _each(setup: Setup, engine: Engine) -> tuple[float, str]:
    if engine.loss == "fused":
        return 2 * element(setup.precision), "16-bit logits and gradient (fused cross entropy)"
    if setup.tensor > 1:
        return PARALLEL, "five fp32 copies (loss parallel over the vocabulary)"
    if engine.loss == "16-bit":
        return EAGER_16, "16-bit logits, log-softmax and gradient"
    return EAGER, "three fp32 copies (log-softmax, gradients in and out)"


def _own(setup: Setup, engine: Engine, tokens: float) -> list[Term]:
    """The trainer's chunked loss: a chunk's logits and softmax; the gradients of hidden states and head stay."""
    shape = setup.shape
    matrix = shape.vocab * shape.width
    chunk = chunk_tokens(setup, tokens)
    # logits and slope around an fp32 softmax; a soft cap (the trainer's weightless family) keeps fp32 tanh too
    width = element(setup.precision)
    each = width + 4.0 + width + (8.0 if shape.norm_vectors == 0 else 0.0)
    copy = 2.0 if not wide(setup.precision) and engine.weights == 4 else 0.0
    return [
        Term("logits and loss", each * chunk * shape.vocab, "trainer/model/loss.py, one chunk", "train.loss_chunk"),
        Term("head's gradient", (4.0 + copy) * matrix, "fp32 sum over chunks, and the 16-bit matrix"),
        Term(
            "hidden states",
            (2 * width * shape.width + norm_input(setup)) * tokens,
            "input of head and norm, and their gradient",
        ),
    ]
