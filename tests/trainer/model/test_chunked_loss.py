"""Chunked cross entropy: the numbers of the plain one, in the memory of a chunk."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config import Model


@pytest.fixture(scope="session")
def head(torch):
    """A head with its own matrix."""
    from trainer.model.loss import Head

    def make(vocab: int, width: int, cap: float = 0.0, chunk: int = 0):
        weight = torch.nn.Parameter(torch.randn(vocab, width, generator=torch.Generator().manual_seed(3)) * 0.3)
        return Head(weight, tied=False, cap=cap, chunk=chunk)

    return make


def plain(torch, head, hidden, targets):
    """Through whole logits, autograd and PyTorch's cross entropy."""
    logits = head(hidden).flatten(0, 1)
    return torch.nn.functional.cross_entropy(logits, targets.flatten(), reduction="sum")


def draw(torch, vocab: int, width: int, shape: tuple[int, int], ignored: float = 0.0, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(*shape, width, generator=generator).requires_grad_()
    targets = torch.randint(0, vocab, shape, generator=generator)
    targets[torch.rand(shape, generator=generator) < ignored] = -100
    return hidden, targets


def gradients(torch, loss, head, hidden, scale: float = 1.0):
    return torch.autograd.grad(loss * scale, [hidden, head.weight])


@settings(max_examples=40, deadline=None)
@given(
    chunk=st.sampled_from([-1, 0, 1, 3, 7, 16, 1000]),
    cap=st.sampled_from([0.0, 15.0, 2.0]),
    ignored=st.sampled_from([0.0, 0.4, 1.0]),
    seed=st.integers(0, 99),
)
def test_loss_and_gradients_equal_the_plain_ones(torch, head, chunk, cap, ignored, seed):
    layer = head(29, 12, cap, chunk)
    hidden, targets = draw(torch, 29, 12, (3, 7), ignored, seed)
    expected, found = plain(torch, layer, hidden, targets), layer(hidden, targets)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-5)
    wanted, got = (gradients(torch, loss, layer, hidden, scale=1 / 21) for loss in (expected, found))
    for one, other in zip(wanted, got, strict=True):
        torch.testing.assert_close(other, one, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("family", ["gpt2", "llama", "nanochat"])
def test_every_gradient_of_a_model_is_that_of_the_plain_loss(torch, build, tokens, family):
    shape = Model(family=family, layers=2, width=32, context=16, vocab=50)
    model = build(shape, loss_chunk=5)
    inputs, targets = tokens(shape)
    model(inputs, targets).backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    logits = model(inputs)
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").backward()
    for name, parameter in model.named_parameters():
        scale = parameter.grad.abs().max().item()
        torch.testing.assert_close(found[name], parameter.grad, rtol=0.0, atol=1e-6 * max(1.0, scale), msg=name)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_under_autocast_products_are_half_and_the_softmax_is_not(torch, head, dtype):
    layer = head(64, 32, chunk=8)
    seen, real = [], layer.slope

    def look(logits, targets, cap, wanted):
        losses, slope = real(logits, targets, cap, wanted)
        seen.append((logits.dtype, losses.dtype, slope.dtype))
        return losses, slope

    layer.slope = look
    hidden, targets = draw(torch, 64, 32, (2, 12), ignored=0.2)
    expected = plain(torch, layer, hidden, targets)
    half = getattr(torch, dtype)
    with torch.autocast("cpu", dtype=half):
        found = layer(hidden, targets)
    assert set(seen) == {(half, torch.float32, half)}
    assert found.item() == pytest.approx(expected.item(), rel=0.01)
    for one, other in zip(
        gradients(torch, expected, layer, hidden), gradients(torch, found, layer, hidden), strict=True
    ):
        assert other.dtype == torch.float32
        torch.testing.assert_close(other, one, rtol=0.05, atol=0.05)


def test_a_half_precision_matrix_gets_a_gradient_of_its_own_dtype(torch, head):
    """As DeepSpeed holds parameters; the sum over chunks is fp32 until the end."""
    layer = head(64, 32, chunk=4).to(torch.bfloat16)
    hidden, targets = draw(torch, 64, 32, (2, 12))
    half = hidden.detach().to(torch.bfloat16).requires_grad_()
    gradient = gradients(torch, layer(half, targets), layer, half)
    assert [part.dtype for part in gradient] == [torch.bfloat16, torch.bfloat16]
    exact = head(64, 32)
    exact.weight.data.copy_(layer.weight.data)
    whole = half.detach().float().requires_grad_()
    expected = gradients(torch, plain(torch, exact, whole, targets), exact, whole)
    torch.testing.assert_close(gradient[1].float(), expected[1], rtol=0.02, atol=0.05)


def test_only_the_gradients_asked_for_are_made(torch, head):
    layer = head(20, 8)
    hidden, targets = draw(torch, 20, 8, (2, 4))
    layer.weight.requires_grad_(False)
    layer(hidden, targets).backward()
    assert hidden.grad is not None
    assert layer.weight.grad is None
    with torch.no_grad():
        assert not layer(hidden, targets).requires_grad


def test_evaluation_makes_no_gradient_buffers(torch, head):
    layer, largest = head(1000, 8, chunk=4), []
    hidden, targets = draw(torch, 1000, 8, (2, 8))
    with torch.no_grad(), watch(torch, largest):
        layer(hidden, targets)
    assert max(largest) == 4 * 1000  # a chunk's logits; the matrix and its gradient would be 8000


def test_gradients_accumulate_over_micro_batches(torch, head):
    layer = head(20, 8, chunk=3)
    hidden, targets = draw(torch, 20, 8, (2, 4))
    layer(hidden, targets).backward()
    once = layer.weight.grad.clone()
    layer(hidden, targets).backward()
    torch.testing.assert_close(layer.weight.grad, 2 * once)


def test_a_second_backward_pass_is_an_error_not_a_wrong_number(torch, head):
    layer = head(20, 8)
    hidden, targets = draw(torch, 20, 8, (2, 4))
    loss = layer(hidden, targets)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        loss.backward()


def watch(torch, sizes: list[int], live: list[int] | None = None):
    """Records the elements of every tensor an operator makes; with `live`, the bytes that exist at once."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Watch(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.storages: dict[int, int] = {}

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            given = {address(leaf) for leaf in tree_leaves((args, kwargs)) if torch.is_tensor(leaf)}
            result = function(*args, **(kwargs or {}))
            for leaf in tree_leaves(result):
                if torch.is_tensor(leaf) and address(leaf) not in given:  # neither a view nor in place
                    sizes.append(leaf.numel())
                    self._live(leaf.untyped_storage())
            if live is not None:
                live.append(sum(self.storages.values()))
            return result

        def _live(self, storage) -> None:
            self.storages[storage.data_ptr()] = storage.nbytes()
            weakref.finalize(storage, self.storages.pop, storage.data_ptr(), None)

    def address(tensor) -> int:
        return tensor.untyped_storage().data_ptr()

    return Watch()


def test_two_hundred_thousand_words_never_have_all_their_logits(torch, head):
    vocab, width, count, chunk = 200_000, 16, 256, 32
    layer = head(vocab, width, chunk=chunk)
    hidden, targets = draw(torch, vocab, width, (2, count // 2))
    sizes: list[int] = []
    live: list[int] = []
    gc.collect()
    with watch(torch, sizes, live):
        layer(hidden, targets).backward()
    logits = 4 * vocab * chunk  # bytes of one chunk in fp32
    gradient = 4 * vocab * width
    assert max(sizes) == vocab * chunk
    assert logits <= max(live) <= 3.1 * logits + 2.1 * gradient  # logits, their logarithms, the slope; never 8 chunks


@pytest.mark.parametrize(
    ("asked", "vocab", "device", "chunk"),
    [
        (-1, 50_304, "cuda", 16_384),
        (512, 50_304, "cuda", 512),
        (0, 50_304, "cpu", 333),  # 64 MiB of fp32 logits
        (0, 200_000, "cpu", 83),
        (0, 256, "cpu", 65_536),
        (0, 50_304, "cuda", 2048),  # products worth starting
        (0, 200_000, "cuda", 1342),  # 1 GiB
        (0, 256, "cuda", 65_536),
        (0, 10**9, "cpu", 1),
    ],
)
def test_an_automatic_chunk_is_small_on_a_cpu_and_worth_a_gemm_on_a_gpu(asked, vocab, device, chunk, torch):
    from trainer.model.loss import chunk_tokens

    assert chunk_tokens(asked, vocab, 16_384, device) == chunk


def test_the_gpus_gemm_sums_in_fp32(torch):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    from trainer.model.products import accumulate

    total = None
    left, right = (torch.randn(128, n, device="cuda", dtype=torch.bfloat16) for n in (64, 32))
    for _ in range(3):
        total = accumulate(total, left, right)
    torch.testing.assert_close(total, 3 * left.float().t() @ right.float(), rtol=1e-2, atol=1e-2)
