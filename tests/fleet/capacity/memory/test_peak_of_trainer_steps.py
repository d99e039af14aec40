"""The whole peak, against a real step of the trainer's own engine, counted tensor by tensor (torch's MemTracker)."""

from __future__ import annotations

import pytest

from fleet.capacity.families import of_family
from fleet.capacity.memory.constants import WORKSPACE
from fleet.capacity.memory.doubt import doubt
from fleet.capacity.memory.memory import memory
from fleet.capacity.setup import Setup
from profiles.gpus import gpu

torch = pytest.importorskip("torch")

LAYERS, WIDTH, HEADS, VOCAB, CHUNK = 4, 128, 4, 2048, 128


def measured_peak(family, checkpointing, batch, length, accumulation, optimizer):
    from torch.distributed._tools.mem_tracker import MemTracker

    import trainer.optim
    from trainer import config
    from trainer.model.gpt import GPT
    from trainer.parallel.ddp import DDP
    from trainer.parallel.world import World
    from trainer.precision.plain import Plain
    from trainer.precision.resolved import Resolved

    chosen = config.Config(
        model=config.Model(family=family, layers=LAYERS, width=WIDTH, heads=HEADS, context=length, vocab=VOCAB)
    )
    chosen.optim.name = optimizer
    backend = Plain(Resolved("bf16", "plain", "a test", "cpu"))
    model = GPT(chosen.model, backend, "sdpa", checkpointing, CHUNK)
    world = World(0, 1, 0, 1, torch.device("cpu"), "")
    engine = DDP(
        chosen,
        world,
        model,
        backend,
        lambda named: trainer.optim.build(list(named), chosen.optim, "ddp", world.device),
    )
    tokens = torch.randint(0, VOCAB, (batch, length))
    tracker = MemTracker()

    def step(tracked):
        for number in range(accumulation):
            if tracked and number:
                tracker.reset_mod_stats()
            engine.micro(tokens, tokens, 1.0 / tokens.numel(), number == accumulation - 1)
        engine.step(1.0)

    step(False)  # moments exist from the first step on
    tracker.track_external(model, engine._optimizer)
    with tracker:
        step(True)
    (snapshot,) = tracker.get_tracker_snapshot("peak").values()
    return max(snapshot.values())


def predicted_peak(family, checkpointing, batch, length, accumulation, optimizer):
    setup = Setup(
        of_family(family, LAYERS, WIDTH, HEADS, VOCAB, length),
        gpu("h100-sxm"),
        1,
        length,
        batch,
        accumulation=accumulation,
        checkpointing=checkpointing,
        optimizer=optimizer,
        loss_chunk=CHUNK,
        compile=False,
    )
    return setup, memory(setup)


def within(case, low=0.94, high=1.12):
    (setup, held), measured = predicted_peak(*case), measured_peak(*case)
    tensors = held.allocated - WORKSPACE
    ratio = tensors / measured
    assert low < ratio < high, f"{case}: predicted / measured = {ratio:.3f}"
    states = sum(term.bytes for term in held.terms if term.kind == "state")
    below, above, reasons = doubt(setup, tensors, states)  # the range told, of the tensors alone
    assert tensors - below <= measured <= tensors + above, f"{case}: outside the range told"
    assert reasons == ()


@pytest.mark.parametrize("checkpointing", ("none", "selective", "full"))
@pytest.mark.parametrize("family", ("gpt2", "llama", "nanochat"))
def test_every_family_and_checkpointing_mode(family, checkpointing):
    within((family, checkpointing, 4, 256, 1, "adamw"))


def test_gradients_of_earlier_micro_batches_are_there_at_the_peak():
    within(("llama", "none", 4, 256, 2, "adamw"))


def test_muon_keeps_one_moment_of_the_matrices():
    within(("llama", "none", 4, 256, 1, "muon"))


def test_with_few_tokens_the_peak_is_at_the_end_of_backward():
    case = ("llama", "none", 1, 64, 1, "adamw")
    within(case, low=0.9)
    setup = Setup(of_family("llama", LAYERS, WIDTH, HEADS, VOCAB, 64), gpu("h100-sxm"), 1, 64, 1, loss_chunk=32)
    assert "gradients" in memory(setup).phase
