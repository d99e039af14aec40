"""Which kernel computes the attention of a run: decided once, from what really imports and what the GPU can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.errors import REFUSED, TrainerError

if TYPE_CHECKING:
    import torch

    from trainer.model.attention.core import Core

ORDER = ("te", "flash3", "flash2", "sdpa")  # what auto tries
NAMES = ("auto", "te", "flash3", "flash2", "flash", "sdpa")  # what may be asked for

_TITLES = {
    "te": "Transformer Engine",
    "flash3": "flash-attn 3",
    "flash2": "flash-attn 2",
    "sdpa": "PyTorch's scaled_dot_product_attention",
}
_PACKAGES = {
    "te": "pip install 'transformer-engine[pytorch]', or use an NGC PyTorch image",
    "flash3": "install flash_attn_3, built from the folder hopper/ of flash-attention (PyPI has no such package)",
    "flash2": "pip install flash-attn --no-build-isolation",
}


@dataclass(frozen=True)
class Choice:
    """The kernel's name (te, flash3, flash2, sdpa) and, in one sentence, why."""

    name: str
    reason: str


@dataclass(frozen=True)
class _Need:
    """What the attention of a model asks of a kernel."""

    device_type: str
    dtype: torch.dtype
    head_dim: int
    dropout: float
    grouped: bool


def choose(
    asked: str, device_type: str, dtype: torch.dtype, head_dim: int, dropout: float, grouped: bool = False
) -> Choice:
    """Resolves `asked` (model.attention). dtype: the one queries have, so bf16 or fp16 under autocast.

    Raises TrainerError when a kernel asked for by name is not installed (naming its package) or cannot serve this
    model here. `auto` never raises: sdpa serves everything.
    """
    need = _Need(device_type, dtype, head_dim, dropout, grouped)
    if asked == "auto":
        return _first(ORDER, need)
    if asked == "flash":
        found = _first(("flash3", "flash2"), need)
        if found.name:
            return found
        raise TrainerError(f"model.attention=flash cannot be had: {found.reason}", _PACKAGES["flash2"], REFUSED)
    if asked not in NAMES:
        raise TrainerError(f"model.attention {asked!r} is not known", f"use one of: {', '.join(NAMES)}")
    if problem := _problem(asked, need):
        missing = problem == "is not installed"
        next_step = _PACKAGES[asked] if missing else "use model.attention=auto"
        raise TrainerError(f"model.attention={asked} cannot be had: {_TITLES[asked]} {problem}", next_step, REFUSED)
    return Choice(asked, f"{_TITLES[asked]}, as asked for")


def build(name: str, heads: int, kv_heads: int, head_dim: int, dropout: float) -> Core:
    """The kernel `name` (as in Choice) for one block."""
    from trainer.model.attention.flash import Flash2, Flash3
    from trainer.model.attention.sdpa import Sdpa
    from trainer.model.attention.te import TransformerEngine

    kernels: dict[str, Callable[[int, int, int, float], Core]] = {
        "te": TransformerEngine,
        "flash3": Flash3,
        "flash2": Flash2,
        "sdpa": Sdpa,
    }
    if name not in kernels:
        raise TrainerError(f"attention kernel {name!r} is not known", f"use one of: {', '.join(kernels)}")
    return kernels[name](heads, kv_heads, head_dim, dropout)


def _first(names: tuple[str, ...], need: _Need) -> Choice:
    """The first that serves; an empty name, with all reasons, when none does."""
    refused: list[str] = []
    for name in names:
        problem = _problem(name, need)
        if not problem:
            before = f"; before it: {', '.join(refused)}" if refused else ""
            return Choice(name, f"{_TITLES[name]}, the first that serves here{before}")
        refused.append(f"{_TITLES[name]} {problem}")
    return Choice("", "; ".join(refused))


def _problem(name: str, need: _Need) -> str:
    """Why `name` cannot serve; empty when it can. The import comes last: it is slow and may load a driver."""
    import torch

    if name == "sdpa":
        return ""
    if need.device_type != "cuda" or not torch.cuda.is_available():
        return "needs a CUDA GPU"
    if need.dtype not in (torch.bfloat16, torch.float16):
        return f"computes in bf16 and fp16 only, not {str(need.dtype).removeprefix('torch.')}"
    if need.head_dim % 8 or need.head_dim > 256:
        return f"needs a head dimension that is a multiple of 8 up to 256, not {need.head_dim}"
    capability = torch.cuda.get_device_capability()
    if name == "flash3" and capability != (9, 0):
        return f"needs compute capability 9.0, this GPU has {capability[0]}.{capability[1]}"
    if capability < (8, 0):
        return f"needs compute capability 8.0, this GPU has {capability[0]}.{capability[1]}"
    if name == "flash3" and need.dropout > 0.0:
        return f"has no dropout, and model.dropout is {need.dropout}"
    return _import_problem(name)


def _import_problem(name: str) -> str:
    """A real import: a wheel of another PyTorch or CUDA is found by name and still does not load."""
    from trainer.model.attention.flash import flash2_function, flash3_function
    from trainer.model.attention.te import dot_product_attention

    entries: dict[str, Callable[[], Any]] = {
        "te": dot_product_attention,
        "flash3": flash3_function,
        "flash2": flash2_function,
    }
    try:
        entries[name]()
    except ModuleNotFoundError:
        return "is not installed"
    except Exception as error:  # OSError, AttributeError, RuntimeError: whatever a mismatched build raises
        return f"does not load ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
    return ""
