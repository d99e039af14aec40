"""All attention kernels compute the same; each is called as its real signature demands."""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import inspect
import sys
from types import ModuleType

import pytest

from trainer.config import Model
from trainer.errors import TrainerError

SHAPES = [(4, 4, 8), (4, 2, 8), (6, 1, 16), (1, 1, 2)]  # heads, kv_heads, head_dim


def draw(torch, heads: int, kv_heads: int, head_dim: int, length: int = 13, **options):
    return [torch.randn(2, length, count, head_dim, **options) for count in (heads, kv_heads, kv_heads)]


def all_gradients(torch, function, parts):
    leaves = [part.detach().clone().requires_grad_() for part in parts]
    y = function(*leaves)
    return [y, *torch.autograd.grad(y.square().sum(), leaves)]


@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), SHAPES)
@pytest.mark.parametrize("native", [True, False], ids=["enable_gqa", "repeated"])
def test_sdpa_is_softmax_attention_with_its_gradients(torch, heads, kv_heads, head_dim, native):
    from trainer.model.attention import build
    from trainer.model.attention.sdpa import reference

    core = build("sdpa", heads, kv_heads, head_dim, 0.0)
    core.native_groups = native and core.native_groups
    parts = draw(torch, heads, kv_heads, head_dim)
    expected = all_gradients(torch, reference, parts)
    found = all_gradients(torch, lambda q, k, v: core(q, k, v, True), parts)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


def test_the_reference_itself_is_a_mean_over_what_came_before(torch):
    from trainer.model.attention.sdpa import reference

    v = torch.arange(4.0).view(1, 4, 1, 1)
    zeros = torch.zeros(1, 4, 1, 1)
    assert reference(zeros, zeros, v).flatten().tolist() == pytest.approx([0.0, 0.5, 1.0, 1.5])


@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), SHAPES)
@pytest.mark.parametrize("new", [1, 5, 13])
def test_cached_attention_is_the_end_of_the_whole(torch, heads, kv_heads, head_dim, new):
    from trainer.model.attention.sdpa import attend_cached, reference

    q, k, v = draw(torch, heads, kv_heads, head_dim)
    torch.testing.assert_close(attend_cached(q[:, -new:], k, v), reference(q, k, v)[:, -new:], rtol=1e-4, atol=1e-5)


def test_dropout_only_while_training(torch):
    from trainer.model.attention import build

    core = build("sdpa", 2, 2, 8, 0.5)
    parts = draw(torch, 2, 2, 8)
    assert torch.equal(core(*parts, False), core(*parts, False))
    assert not torch.equal(core(*parts, True), core(*parts, True))


# --- Kernels that need a GPU, by their recorded signatures ------------------------------------------------------


def fake_flash2(q, k, v, dropout_p=0.0, softmax_scale=None, causal=False, window_size=(-1, -1), softcap=0.0,
                alibi_slopes=None, deterministic=False, return_attn_probs=False):  # fmt: skip
    """flash_attn 2.8, flash_attn/flash_attn_interface.py."""
    from trainer.model.attention.sdpa import reference

    assert causal
    assert softmax_scale is None
    assert not return_attn_probs
    assert q.stride(-1) == k.stride(-1) == v.stride(-1) == 1
    return reference(q, k, v)


def fake_flash3(q, k, v, softmax_scale=None, causal=False, qv=None, q_descale=None, k_descale=None, v_descale=None,
                window_size=(-1, -1), attention_chunk=0, softcap=0.0, num_splits=1, pack_gqa=None, deterministic=False,
                sm_margin=0, return_attn_probs=False):  # fmt: skip
    """flash_attn_3 of 2026-08, hopper/flash_attn_interface.py: out alone, no dropout_p."""
    return fake_flash2(q, k, v, causal=causal, softmax_scale=softmax_scale)


def fake_flash3_beta(q, k, v, softmax_scale=None, causal=False, q_descale=None, k_descale=None, v_descale=None,
                     window_size=(-1, -1), sink_token_length=0, softcap=0.0, num_splits=1, pack_gqa=None,
                     deterministic=False, sm_margin=0):  # fmt: skip
    """An early beta: (out, softmax_lse)."""
    return fake_flash2(q, k, v, causal=causal), q[..., 0]


OPTIONS_1_11 = """
num_attention_heads kv_channels num_gqa_groups attention_dropout qkv_format attn_mask_type window_size sequence_parallel
tp_size get_rng_state_tracker tp_group layer_number attention_type cp_group cp_global_ranks cp_stream cp_comm_type
softmax_scale"""
OPTIONS_HEAD = """
num_attention_heads kv_channels num_gqa_groups attention_dropout qkv_format attn_mask_type window_size
bottom_right_diagonal sequence_parallel tp_size get_rng_state_tracker tp_group layer_number attention_type cp_group
cp_global_ranks cp_stream cp_comm_type softmax_scale softmax_type return_max_logit name"""


def fake_te(torch, options: str):
    """DotProductAttention of TE 1.11 or 2.20: its own argument names, its sbhd default, its flattened heads."""
    from trainer.model.attention.sdpa import reference

    empty = inspect.Parameter.empty
    signature = inspect.Signature(
        [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=empty if number < 2 else None)
            for number, name in enumerate(options.split())
        ]
    )

    class DotProductAttention(torch.nn.Module):
        def __init__(self, *args, **kwargs) -> None:
            super().__init__()
            bound = signature.bind(*args, **kwargs)
            self.told = {"qkv_format": "sbhd", "attn_mask_type": "causal", **bound.arguments}
            self.modes: list[bool] = []

        def forward(self, query_layer, key_layer, value_layer, attention_mask=None, qkv_format=None):
            assert self.told["qkv_format"] == "bshd"
            assert self.told["attn_mask_type"] == "causal"
            assert query_layer.shape[2:] == (self.told["num_attention_heads"], self.told["kv_channels"])
            assert key_layer.shape[2] == (self.told["num_gqa_groups"] or self.told["num_attention_heads"])
            self.modes.append(self.training)
            return reference(query_layer, key_layer, value_layer).flatten(2)

        def get_extra_state(self):
            return torch.empty(0, dtype=torch.uint8)

    return DotProductAttention


@pytest.fixture
def installed(monkeypatch, torch):
    """Puts fake packages where imports look, on a GPU of the given capability."""

    def put(capability: tuple[int, int] = (9, 0), **packages) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
        for name in KERNEL_MODULES:
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])  # whatever this machine has
        for kind, content in packages.items():
            names, attribute = PLACES[kind]
            for name in names:
                module = ModuleType(name)
                module.__spec__ = importlib.machinery.ModuleSpec(name, None)
                monkeypatch.setitem(sys.modules, name, module)
            setattr(sys.modules[names[-1]], attribute, content)

    return put


KERNEL_MODULES = (
    "transformer_engine",
    "transformer_engine.pytorch",
    "flash_attn",
    "flash_attn_interface",
    "flash_attn_3",
    "flash_attn_3.flash_attn_interface",
)


class Absent(importlib.abc.MetaPathFinder):
    """Makes the kernels' packages be missing, as they are on a machine without them."""

    def find_spec(self, name, path=None, target=None):
        if name in KERNEL_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


PLACES = {
    "te": (["transformer_engine", "transformer_engine.pytorch"], "DotProductAttention"),
    "flash2": (["flash_attn"], "flash_attn_func"),
    "flash3": (["flash_attn_3", "flash_attn_3.flash_attn_interface"], "flash_attn_func"),
    "flash3_old": (["flash_attn_interface"], "flash_attn_func"),
}


@pytest.mark.parametrize("kernel", ["flash2", "flash3", "flash3_old", "te-1.11", "te-2.20"])
def test_a_model_gives_the_same_logits_and_gradients_with_every_kernel(torch, build, tokens, installed, shape, kernel):
    found = {
        "flash2": ("flash2", {"flash2": fake_flash2}),
        "flash3": ("flash3", {"flash3": fake_flash3}),
        "flash3_old": ("flash3", {"flash3_old": fake_flash3_beta}),
        "te-1.11": ("te", {"te": fake_te(torch, OPTIONS_1_11)}),
        "te-2.20": ("te", {"te": fake_te(torch, OPTIONS_HEAD)}),
    }
    name, packages = found[kernel]
    expected = build(shape)
    installed(**packages)
    model = build(shape, attention=name)
    assert model.state_dict().keys() == expected.state_dict().keys()  # TE's _extra_state stays out
    with torch.no_grad():
        torch.testing.assert_close(model(tokens(shape)[0]), expected(tokens(shape)[0]), rtol=1e-4, atol=1e-5)
    for each in (model, expected):
        each(*tokens(shape)).backward()
    for (name, one), other in zip(model.named_parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-4, msg=name)


def test_te_is_told_whether_the_model_trains(torch, build, tokens, installed):
    installed(te=fake_te(torch, OPTIONS_HEAD))
    shape = Model(layers=1, context=8)
    model = build(shape, attention="te")
    model(tokens(shape)[0])
    model.eval()(tokens(shape)[0])
    assert model.blocks[0].attention.core.module.modes == [True, False]


@pytest.mark.parametrize("fixed", [True, False])
def test_flash_attention_is_deterministic_where_the_run_is(torch, installed, monkeypatch, fixed):
    from trainer.model.attention import build

    asked = []

    def note(*parts, deterministic=False, causal=False, dropout_p=0.0):
        asked.append(deterministic)
        return fake_flash2(*parts, causal=causal)

    installed(flash2=note, flash3=note)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: fixed)
    for name in ("flash2", "flash3"):
        build(name, 2, 2, 8, 0.0)(*draw(torch, 2, 2, 8), True)
    assert asked == [fixed, fixed]


def choose(torch, asked: str = "auto", device: str = "cuda", dtype=None, head_dim: int = 64, dropout: float = 0.0):
    from trainer.model.attention import choose as real

    return real(asked, device, dtype or torch.bfloat16, head_dim, dropout, False)


@pytest.mark.parametrize(
    ("packages", "capability", "name"),
    [
        (("te", "flash3", "flash2"), (9, 0), "te"),
        (("flash3", "flash2"), (9, 0), "flash3"),
        (("flash3_old",), (9, 0), "flash3"),
        (("flash3", "flash2"), (8, 0), "flash2"),
        (("flash3", "flash2"), (10, 0), "flash2"),
        (("flash3",), (8, 9), "sdpa"),
        (("flash2",), (7, 5), "sdpa"),
        ((), (9, 0), "sdpa"),
    ],
)
def test_auto_takes_the_first_that_imports_and_that_the_gpu_can_run(torch, installed, packages, capability, name):
    installed(capability, **dict.fromkeys(packages, fake_flash2))
    choice = choose(torch)
    assert choice.name == name
    assert "the first that serves here" in choice.reason


def test_auto_says_what_it_passed_over_and_why(torch, installed):
    installed((8, 9), flash3=fake_flash3)
    reason = choose(torch).reason
    assert "Transformer Engine is not installed" in reason
    assert "flash-attn 3 needs compute capability 9.0, this GPU has 8.9" in reason
    assert "\n" not in reason


def test_on_a_cpu_it_is_pytorchs(torch):
    assert choose(torch, device="cpu", dtype=torch.float32).name == "sdpa"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"dropout": 0.1, "asked": "flash3"}, "no dropout"),
        ({"asked": "flash2", "head_dim": 20}, "multiple of 8 up to 256, not 20"),
        ({"asked": "te", "head_dim": 512}, "not 512"),
        ({"asked": "flash2", "device": "cpu"}, "needs a CUDA GPU"),
    ],
)
def test_a_kernel_that_cannot_serve_is_refused_by_name_and_reason(torch, installed, options, why):
    installed(te=fake_flash2, flash3=fake_flash3, flash2=fake_flash2)
    with pytest.raises(TrainerError, match=why) as caught:
        choose(torch, **options)
    assert caught.value.exit_code == 4
    assert "model.attention=auto" in caught.value.next_step


def test_fp32_leaves_only_pytorchs(torch, installed):
    installed(te=fake_flash2, flash3=fake_flash3, flash2=fake_flash2)
    choice = choose(torch, dtype=torch.float32)
    assert choice.name == "sdpa"
    assert "bf16 and fp16 only, not float32" in choice.reason


@pytest.mark.parametrize(
    ("asked", "package"),
    [("te", "transformer-engine[pytorch]"), ("flash2", "pip install flash-attn"), ("flash3", "flash_attn_3")],
)
def test_a_kernel_that_is_not_installed_names_its_package(torch, installed, asked, package):
    installed()
    with pytest.raises(TrainerError, match="is not installed") as caught:
        choose(torch, asked)
    assert package in caught.value.next_step


def test_a_build_that_does_not_load_is_not_available(torch, installed, monkeypatch):
    """A wheel for another PyTorch is found by name and dies in its import."""
    import importlib

    installed(flash2=fake_flash2)
    real = importlib.import_module

    def broken(name: str):
        if name == "transformer_engine.pytorch":
            raise OSError("libcuda.so.1: cannot open shared object file")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", broken)
    choice = choose(torch)
    assert choice.name == "flash2"
    assert "does not load (OSError: libcuda.so.1" in choice.reason
    with pytest.raises(TrainerError, match="does not load"):
        choose(torch, "te")


def test_flash_means_three_else_two(torch, installed):
    installed((9, 0), flash3=fake_flash3, flash2=fake_flash2)
    assert choose(torch, "flash").name == "flash3"
    assert choose(torch, "flash", dropout=0.1).name == "flash2"
    installed((9, 0))
    with pytest.raises(TrainerError, match="flash-attn 3 is not installed; flash-attn 2 is not installed"):
        choose(torch, "flash")


def test_an_unknown_kernel_is_refused(torch):
    with pytest.raises(TrainerError, match="'xformers' is not known"):
        choose(torch, "xformers")


@pytest.mark.parametrize(("heads", "kv_heads"), [(8, 8), (8, 2)])
def test_on_a_gpu_all_kernels_that_import_agree(torch, heads, kv_heads):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    from trainer.model.attention import build
    from trainer.model.attention.sdpa import reference

    parts = draw(torch, heads, kv_heads, 64, length=256, device="cuda", dtype=torch.bfloat16)
    expected = all_gradients(torch, reference, [part.float() for part in parts])
    for name in ("te", "flash3", "flash2", "sdpa"):
        try:
            choose(torch, name)
        except TrainerError:
            continue
        core = build(name, heads, kv_heads, 64, 0.0)
        found = all_gradients(torch, functools.partial(core, training=True), parts)
        for one, other in zip(expected, found, strict=True):
            torch.testing.assert_close(other.float(), one, rtol=0.05, atol=0.05, msg=name)


def test_the_ranking_of_kernels_can_be_compiled(torch, monkeypatch):
    """As on Hopper, where it is asked for at each call; found out when the model is built, not while it is traced."""
    from trainer.model.attention import sdpa

    with monkeypatch.context() as hopper:
        hopper.setattr(torch.cuda, "is_available", lambda: True)
        hopper.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
        core = sdpa.Sdpa(2, 2, 8, 0.0)
    if core.order is None:
        pytest.skip("this torch cannot rank kernels")
    torch._dynamo.reset()

    def ranked(q):
        with core._fastest(torch.device("cuda"), 0.0):
            return torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)

    q = torch.randn(1, 2, 16, 8)
    found = torch.compile(ranked, backend="aot_eager", fullgraph=True)(q)
    torch.testing.assert_close(found, torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True))
    torch._dynamo.reset()
