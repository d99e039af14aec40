"""Which precision a run computes in: a pure function of what is asked, the machine and the model's dimensions.

The rules by GPU are Transformer Engine's own (pytorch/quantization.py, check_*_support); docs/precision.md has them as
a table. Each refusal is a TrainerError with the reason and what to ask for instead.
"""

from __future__ import annotations

from trainer import config
from trainer.config.schema import PRECISIONS
from trainer.errors import TrainerError
from trainer.precision import rules
from trainer.precision.machine import Machine, look
from trainer.precision.resolved import FP8, Resolved, changed

__all__ = ["Machine", "Resolved", "changed", "look", "resolve"]


def resolve(
    asked: config.Precision, machine: Machine, shape: config.Model, trained_by: str = "", compiled: bool = False
) -> Resolved:
    """The precision of a run. trained_by: ddp, or deepspeed with its stage ("deepspeed-3"); compiled: train.compile.

    Raises TrainerError for what this machine, this Transformer Engine or this model cannot do.
    """
    if asked.name not in PRECISIONS:
        raise TrainerError(f"precision {asked.name!r} is not known", f"use one of: {', '.join(PRECISIONS)}")
    if asked.name == "auto":
        return _auto(asked, machine, shape, compiled)
    if asked.name in FP8:
        backend, reason = _fp8(asked, machine, shape, trained_by, compiled)
        return _resolved(asked, machine, asked.name, backend, reason)
    return _resolved(asked, machine, asked.name, "plain", rules.plain(asked.name, machine))


def _auto(asked: config.Precision, machine: Machine, shape: config.Model, compiled: bool) -> Resolved:
    """FP8 where it should pay, else the fastest precision that needs no loss scaling."""
    if machine.device == "cpu" or machine.capability is None:
        return _resolved(asked, machine, "fp32", "plain", "a CPU gains nothing from fewer bits")
    if machine.capability < rules.BF16:
        return _resolved(asked, machine, "fp16", "plain", f"{rules.card(machine)} has no bf16; losses are scaled")
    why_not = rules.why_not_auto(machine, shape, asked, compiled)
    if why_not:
        return _resolved(asked, machine, "bf16", "plain", why_not)
    backend, reason = _backend(asked, machine, "fp8-current", compiled)
    width = rules.smallest(shape)
    return _resolved(asked, machine, "fp8-current", backend, f"every block GEMM is at least {width} wide, and {reason}")


def _fp8(
    asked: config.Precision, machine: Machine, shape: config.Model, trained_by: str, compiled: bool
) -> tuple[str, str]:
    """Back end and reason for an FP8 precision that was asked for by name."""
    rules.check_backend_choice(asked)
    rules.check_layers(asked, shape)
    if asked.name == "fp8-delayed" and trained_by.endswith("3"):
        raise TrainerError(
            "fp8-delayed keeps state in every layer, which ZeRO stage 3 neither shards nor saves",
            "use precision.name=fp8-current, or parallel.zero of at most 2",
        )
    if machine.device == "cpu":
        rules.check_cpu(asked, machine)
        return "native", "asked for, and emulation is switched on"
    rules.check_card(asked.name, machine)
    return _backend(asked, machine, asked.name, compiled)


def _backend(asked: config.Precision, machine: Machine, name: str, compiled: bool) -> tuple[str, str]:
    """te or native, and why. Raises TrainerError where neither can do this precision.

    TE's layers leave torch.compile's graph on purpose (no_torch_dynamo on their forward), so a compiled model takes the
    native layers; without compile, native casts are separate kernels and TE's fused ones win.
    """
    if name != "fp8-current" or asked.backend == "te":
        rules.check_te(name, machine)
        rules.check_compiled(name, machine, compiled)
        broken = "; train.compile breaks its graph at each of its layers" if compiled else ""
        return "te", f"Transformer Engine {rules.dotted(machine.te)} has {name}{broken}"
    if asked.backend == "native":
        return "native", "precision.backend asks for native" + ("" if compiled else "; slow without train.compile")
    if compiled:
        return "native", "torch.compile fuses the native layers' casts, and would break its graph at each TE layer"
    if rules.te_has(name, machine):
        return "te", f"Transformer Engine {rules.dotted(machine.te)} has {name}, and the model is not compiled"
    there = f"Transformer Engine {rules.dotted(machine.te)} is too old" if machine.te else "there is no other back end"
    return "native", f"{there} for {name}; slow without train.compile"


def _resolved(asked: config.Precision, machine: Machine, name: str, backend: str, reason: str) -> Resolved:
    return Resolved(
        name=name,
        backend=backend,
        reason=reason,
        device=machine.device,
        emulate=backend == "native" and machine.device == "cpu",
        te=rules.dotted(machine.te) if backend == "te" else "",
        min_dim=asked.min_dim,
        keep_ends=asked.keep_ends,
        warmup_steps=asked.warmup_steps,
        margin=asked.margin,
        amax_history=asked.amax_history,
        amax_algorithm=asked.amax_algorithm,
    )
