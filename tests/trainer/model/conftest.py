"""What the model's tests share: a precision backend without precision, and shapes of every family."""

from __future__ import annotations

import pytest

from trainer.config import Model


@pytest.fixture(scope="session")
def backend(torch):
    """fp32 linear layers and PyTorch's own checkpointing: the smallest thing that is a backend."""
    from torch.utils.checkpoint import checkpoint

    class Plain:
        name = "plain"

        def linear(self, inputs: int, outputs: int, bias: bool, eligible: bool):
            return torch.nn.Linear(inputs, outputs, bias=bias)

        def checkpoint(self, function, *arguments):
            return checkpoint(function, *arguments, use_reentrant=False)

    return Plain()


@pytest.fixture(scope="session")
def build(torch, backend):
    """A GPT with seeded weights, all of them drawn anew with some spread, so that no zero initial matrix hides a
    mistake."""
    from trainer.model.gpt import GPT

    def make(shape: Model, spread: float = 0.1, **options):
        torch.manual_seed(7)
        model = GPT(shape, backend, **options)
        if spread:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter), alpha=spread)
        return model

    return make


@pytest.fixture(scope="session")
def tokens(torch):
    """Random inputs and targets (batch, length)."""

    def draw(shape: Model, batch: int = 2, length: int = 0):
        generator = torch.Generator().manual_seed(11)
        drawn = torch.randint(0, shape.vocab, (2, batch, length or shape.context), generator=generator)
        return drawn[0], drawn[1]

    return draw


@pytest.fixture(params=["gpt2", "llama", "llama-gqa", "nanochat", "nanochat-gqa"])
def shape(request) -> Model:
    """A small shape of each family, with and without grouped heads."""
    family, _, grouped = request.param.partition("-")
    return Model(family=family, layers=3, heads=4, kv_heads=2 if grouped else 0, width=32, ffn=48, context=24, vocab=61)
