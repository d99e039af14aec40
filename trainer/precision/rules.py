"""What each GPU, CUDA and Transformer Engine can do, and the refusals that follow."""

from __future__ import annotations

from trainer import config
from trainer.errors import TrainerError
from trainer.model.families import sizes_of
from trainer.precision.machine import Machine
from trainer.precision.resolved import ALIGNMENT

BF16 = (8, 0)
SCALED = (8, 9)  # per-tensor scales: fp8-current, fp8-delayed
BLOCK = (9, 0)
BLOCK_CUDA = (12, 9)
BLACKWELL = (10, 0)
CONSUMER = (12, 0)  # GeForce and RTX PRO Blackwell: TE's rules let FP8 block and NVFP4 pass; only a try tells
ADA_CUDA = (12, 1)
NO_DELAYED_COMPILED = (2, 15)
# The first Transformer Engine with each recipe (transformer_engine.common.recipe).
SINCE = {"fp8-delayed": (1, 0), "mxfp8": (2, 0), "fp8-current": (2, 2), "fp8-block": (2, 3), "nvfp4": (2, 8)}


def plain(name: str, machine: Machine) -> str:
    """The reason for fp32, bf16 or fp16 as asked. Raises TrainerError for bf16 on a card without it."""
    if name == "bf16" and machine.capability is not None and machine.capability < BF16:
        raise TrainerError(
            f"bf16 needs compute capability 8.0, and {card(machine)} is older", "use precision.name=fp16 or fp32"
        )
    if name == "fp16" and (machine.capability is None or machine.capability >= BF16):
        return "asked for; losses are scaled, which bf16 would not need here"
    return "asked for"


def gemms(shape: config.Model) -> list[tuple[int, int]]:
    """(inputs, outputs) of the matrices of one block: qkv, out, up (and gate), down. The head is left out: it stays."""
    sizes = sizes_of(shape)
    queries = sizes.heads * sizes.head_dim
    rows = queries + 2 * sizes.kv_heads * sizes.head_dim
    return [(shape.width, rows), (queries, shape.width), (shape.width, sizes.ffn), (sizes.ffn, shape.width)]


def smallest(shape: config.Model) -> int:
    """The smallest dimension of any block GEMM."""
    return min(min(pair) for pair in gemms(shape))


def why_not_auto(machine: Machine, shape: config.Model, asked: config.Precision, compiled: bool) -> str:
    """Why auto takes bf16; empty where FP8 should pay. Facts: FP8 is slower than bf16 in GEMMs below 1024."""
    capability = machine.capability
    if capability is None or capability < SCALED:
        return f"{card(machine)} multiplies no FP8 (that needs compute capability 8.9)"
    if not _ada_ok(machine):
        return f"FP8 on {card(machine)} needs CUDA 12.1"
    if smallest(shape) < asked.min_dim:
        return f"FP8 does not pay in GEMMs of {smallest(shape)}, below precision.min_dim {asked.min_dim}"
    if asked.keep_ends and shape.layers <= 2:
        return "precision.keep_ends leaves no block for FP8"
    if any(side % ALIGNMENT["fp8-current"] for pair in gemms(shape) for side in pair):
        return "the model's dimensions are not all multiples of 16, as FP8 needs"
    if asked.backend == "te" and not te_has("fp8-current", machine):
        return f"precision.backend=te has no fp8-current: Transformer Engine {dotted(machine.te) or 'is absent'}"
    if asked.backend == "auto" and not compiled and not te_has("fp8-current", machine):
        return "FP8 needs Transformer Engine 2.2 or train.compile to be faster, and neither is there"
    return ""


def check_backend_choice(asked: config.Precision) -> None:
    """Raises TrainerError where the back end asked for does not have the precision asked for."""
    if asked.backend == "native" and asked.name != "fp8-current":
        raise TrainerError(
            f"the native back end has fp8-current only, not {asked.name}",
            "use precision.name=fp8-current, or precision.backend=te",
        )


def check_layers(asked: config.Precision, shape: config.Model) -> None:
    """Raises TrainerError where no layer of the model would multiply in FP8."""
    block = ALIGNMENT[asked.name]
    if asked.keep_ends and shape.layers <= 2:
        raise TrainerError(
            f"precision.keep_ends leaves no block for FP8 in a model of {shape.layers}", "set precision.keep_ends=false"
        )
    legal = [pair for pair in gemms(shape) if pair[0] % block == 0 and pair[1] % block == 0]
    if not legal:
        raise TrainerError(
            f"{asked.name} needs dimensions that are multiples of {block}; this model's GEMMs are {gemms(shape)}",
            f"choose model.width and model.ffn as multiples of {block}, or precision.name=bf16",
        )
    widest = max(min(pair) for pair in legal)
    if widest < asked.min_dim:
        raise TrainerError(
            f"no layer is wide enough for {asked.name}: {widest} is below precision.min_dim {asked.min_dim}",
            "use precision.name=bf16 (faster at this width), or lower precision.min_dim",
        )


def check_cpu(asked: config.Precision, machine: Machine) -> None:
    """Raises TrainerError for FP8 on a CPU, except native fp8-current with emulation switched on."""
    if machine.emulate and asked.backend != "te" and asked.name == "fp8-current":
        return
    if machine.emulate:
        raise TrainerError(
            f"only native fp8-current is emulated on a CPU, not {asked.name} by {asked.backend}",
            "use precision.name=fp8-current with precision.backend=native",
        )
    raise TrainerError(
        f"{asked.name} needs a GPU of compute capability 8.9 or more, and this run is on a CPU",
        "use precision.name=auto, fp32 or bf16",
    )


def check_card(name: str, machine: Machine) -> None:
    """Raises TrainerError for an FP8 precision this GPU or its CUDA cannot multiply in."""
    capability = machine.capability or (0, 0)
    if capability < SCALED:
        raise TrainerError(
            f"{name} needs FP8 tensor cores (compute capability 8.9), and {card(machine)} has none",
            "use precision.name=bf16" if capability >= BF16 else "use precision.name=fp16",
        )
    if not _ada_ok(machine):
        raise TrainerError(f"FP8 on {card(machine)} needs CUDA 12.1", "use a newer image, or precision.name=bf16")
    if name == "fp8-block":
        _check_block(machine)
    if name == "mxfp8" and not BLACKWELL <= capability < CONSUMER:
        raise TrainerError(
            f"mxfp8 needs compute capability 10.x (B200, GB200), and {card(machine)} is not",
            "use precision.name=fp8-current",
        )
    if name == "nvfp4" and capability < BLACKWELL:
        raise TrainerError(f"nvfp4 needs Blackwell, and {card(machine)} is older", "use precision.name=fp8-current")
    if name in ("fp8-block", "nvfp4") and capability >= CONSUMER:
        _check_by_trying(name, machine)


def check_te(name: str, machine: Machine) -> None:
    """Raises TrainerError where Transformer Engine is absent or older than the recipe."""
    if te_has(name, machine):
        return
    wanted = f"{name} needs Transformer Engine {dotted(SINCE[name])} or newer"
    native = "precision.backend=native with train.compile=true"
    if machine.te is None:
        other = native if name == "fp8-current" else f"precision.name=fp8-current, {native}"
        raise TrainerError(f"{wanted}, and none is installed", f"use an NGC image, or {other}")
    other = f"{native}, or precision.name=fp8-delayed" if name == "fp8-current" else "precision.name=fp8-delayed"
    raise TrainerError(f"{wanted}, and {dotted(machine.te)} is installed", f"use {other}")


def check_compiled(name: str, machine: Machine, compiled: bool) -> None:
    """Raises TrainerError for delayed scaling in a compiled model: from 2.15 on the library itself refuses it."""
    if compiled and name == "fp8-delayed" and machine.te is not None and machine.te[:2] >= NO_DELAYED_COMPILED:
        raise TrainerError(
            f"Transformer Engine {dotted(machine.te)} does not compute fp8-delayed under torch.compile",
            "set train.compile=false, or use precision.name=fp8-current",
        )


def te_has(name: str, machine: Machine) -> bool:
    """Whether the installed Transformer Engine knows this recipe."""
    return machine.te is not None and machine.te[:2] >= SINCE[name]


def card(machine: Machine) -> str:
    """The GPU in words."""
    return f"this GPU (compute capability {dotted(machine.capability)})"


def dotted(version: tuple[int, ...] | None) -> str:
    """2.9.0 of (2, 9, 0); empty of None."""
    return ".".join(map(str, version or ()))


def _ada_ok(machine: Machine) -> bool:
    return machine.capability != SCALED or machine.cuda is None or machine.cuda >= ADA_CUDA


def _check_block(machine: Machine) -> None:
    if (machine.capability or (0, 0)) < BLOCK:
        raise TrainerError(
            f"fp8-block needs compute capability 9.0, and {card(machine)} is older", "use precision.name=fp8-current"
        )
    if machine.cuda is None or machine.cuda < BLOCK_CUDA:
        there = dotted(machine.cuda) or "unknown"
        raise TrainerError(
            f"fp8-block needs CUDA 12.9, and this torch was built with {there}",
            "use an image with CUDA 12.9 or newer, or precision.name=fp8-current",
        )


def _check_by_trying(name: str, machine: Machine) -> None:
    """On compute capability 12.x Transformer Engine's own rule is too generous."""
    why = machine.probe(name) if machine.probe else "it could not be tried"
    if why:
        raise TrainerError(
            f"{name} does not work on {card(machine)}: {why}", "use precision.name=fp8-current or precision.name=bf16"
        )
