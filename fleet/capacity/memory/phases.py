"""The moments of a step at which memory may peak, and what exists at each: a maximum, not a sum of everything."""

from __future__ import annotations

from fleet.capacity.memory import activations, logits, rest, states
from fleet.capacity.memory.engines import Engine
from fleet.capacity.memory.stage import Stage
from fleet.capacity.memory.term import Term
from fleet.capacity.setup import Setup
from fleet.capacity.widths import element

LOSS = "loss (end of forward, start of backward)"
BACKWARD = "backward of the last layers (all activations still there)"
END = "end of backward (all gradients there)"
STEP = "optimizer step"
START = "start (the whole model on every GPU, before it is cut)"


def phases(setup: Setup, engine: Engine, stage: Stage) -> list[tuple[str, list[Term]]]:
    """(name, terms) of each moment on the GPU of one stage."""
    tokens = setup.micro_batch * setup.length / setup.context_parallel
    fixed = [
        states.weights(setup, engine, stage),
        states.optimizer(setup, engine, stage),
        *rest.buckets(setup, engine),
        *rest.pipeline(setup, tokens),
        rest.workspace(setup),
    ]
    gradients = states.gradients(setup, engine, stage)
    before = [gradients] if _kept(setup, engine) else []
    whole = rest.gathered(setup, engine, stage)
    copies = states.copies(setup, engine, stage)
    saved = _saved(setup, engine, stage, tokens)
    one = _one_layer(setup, engine, tokens)
    own = engine.loss == "chunks" and stage.last
    passed = logits.loss(setup, engine, stage, tokens)
    behind = [term for term in passed if own and term.name != "logits and loss"]
    lasting = [] if setup.checkpointing == "full" else [copies]
    return [
        *_start(setup, engine, stage),
        (LOSS, [*fixed, *before, *whole, copies, saved, *passed]),
        (BACKWARD, [*fixed, *before, *whole, *lasting, saved, one, *behind]),
        (END, [*fixed, gradients, *whole, one, _layer_of(saved, stage)]),
        (STEP, [*fixed, gradients, _step(setup, engine, stage)]),
    ]


def _start(setup: Setup, engine: Engine, stage: Stage) -> list[tuple[str, list[Term]]]:
    """The trainer makes no model in pieces (zero.Init): DeepSpeed moves all of it to every GPU, and only then cuts and
    offloads it (deepspeed, runtime/engine.py, _configure_distributed_model)."""
    if engine.name != "zero" or not setup.zero:
        return []
    each = element(setup.precision)
    whole = Term("whole model", each * stage.total, f"{each:g} B per parameter, before it is cut", "", "state")
    return [(START, [whole, rest.workspace(setup)])]


def _kept(setup: Setup, engine: Engine) -> bool:
    """Gradients exist before backward: of earlier micro-batches, or because they are views into lasting buckets."""
    if setup.optimizer == "paged-adamw8bit":
        return False
    lasting = engine.lasting and (setup.gpus > 1 or engine.master > 0)
    return setup.accumulation > 1 or lasting or states.kept_whole(setup, engine)


def _saved(setup: Setup, engine: Engine, stage: Stage, tokens: float) -> Term:
    each = sum(activations.kept(setup, engine).values()) * tokens / setup.tensor
    in_flight = stage.in_flight * each * stage.layers
    words = {"none": "everything a layer's backward needs", "selective": "products only", "full": "inputs of blocks"}
    return Term(
        "activations",
        in_flight,
        f"{words[setup.checkpointing]}, {stage.layers:g} layers"
        + (f", {stage.in_flight} micro-batches" * (stage.in_flight > 1)),
        "train.micro_batch",
    )


def _one_layer(setup: Setup, engine: Engine, tokens: float) -> Term:
    """What is recomputed of one layer, and the gradients that pass through it."""
    size = activations.passing(setup)
    if setup.checkpointing != "none":
        size += max(0.0, sum(activations.block(setup, engine).values()) - sum(activations.kept(setup, engine).values()))
    gathered = (
        2 * element(setup.precision) * setup.shape.width * tokens if setup.tensor > 1 else 0.0
    )  # sequence parallel inputs, made whole
    return Term("one layer", size * tokens / setup.tensor + gathered, "recomputed, and gradients passing through")


def _layer_of(saved: Term, stage: Stage) -> Term:
    return Term(saved.name, saved.bytes / stage.layers, "the first layer's", saved.knob)


def _step(setup: Setup, engine: Engine, stage: Stage) -> Term:
    """Fused AdamW needs nothing; Muon orthogonalises matrix by matrix in 16 bits; others work through lists of
    tensors, one more copy of a moment."""
    if setup.adapter is not None or "8bit" in setup.optimizer:
        return Term("optimizer's intermediates", 0.0, "adapters only, or one fused kernel")
    if setup.optimizer == "muon":
        return Term("optimizer's intermediates", 10.0 * stage.layer, "Muon's products of one layer")
    if engine.fused_adamw:
        return Term("optimizer's intermediates", 0.0, "fused AdamW")
    share = states.divisor(setup, 1)
    return Term("optimizer's intermediates", engine.moment * stage.total / share, "AdamW over lists of tensors")
