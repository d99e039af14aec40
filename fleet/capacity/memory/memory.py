"""What one GPU holds at the peak of a training step, itemised, and whether that fits."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.capacity.memory import host, states
from fleet.capacity.memory.constants import DRIVER, FRAGMENTS, HOST_MOST, HOST_TIMES
from fleet.capacity.memory.doubt import doubt
from fleet.capacity.memory.engines import Engine, engine_of
from fleet.capacity.memory.phases import LOSS, START, phases
from fleet.capacity.memory.rest import outside
from fleet.capacity.memory.stage import stages
from fleet.capacity.memory.term import Term
from fleet.capacity.setup import Setup
from profiles.errors import WrongInput
from profiles.gpus import Gpu

__all__ = ["Memory", "Term", "capacity", "memory"]


@dataclass(frozen=True, slots=True)
class Memory:
    """The peak of one GPU, in bytes.

    allocated: tensors (torch's max_memory_allocated); reserved: with what its allocator keeps beside them; total: with
    the driver's context and NCCL; low, high: of the total. doubts: why that range is wider than the trainer's own.
    host: RAM that one machine's processes take; host_capacity: RAM it is assumed to have, providers differ.
    """

    terms: tuple[Term, ...]
    phase: str
    allocated: float
    reserved: float
    total: float
    low: float
    high: float
    capacity: float
    host: float = 0.0
    host_capacity: float = 0.0
    doubts: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """fits: even the high end does, and the host's part; refused: the estimate itself does not, or it takes RAM
        that no such machine has; tight: between."""
        return max(self._on_gpu, self._on_host, key=("fits", "tight", "refused").index)

    @property
    def short_of(self) -> str:
        """What is lacking, or may be: GPU, host, or nothing. The GPU where both are equally short."""
        if self.verdict == "fits":
            return ""
        return "GPU" if self._on_gpu == self.verdict else "host"

    @property
    def _on_gpu(self) -> str:
        if self.high <= self.capacity:
            return "fits"
        return "tight" if self.total <= self.capacity else "refused"

    @property
    def _on_host(self) -> str:
        if self.host > HOST_MOST:
            return "refused"
        if self.host <= self.host_capacity:
            return "fits"
        return "tight" if self.host <= HOST_TIMES * self.host_capacity else "refused"

    @property
    def dominant(self) -> Term:
        """The largest term."""
        return max(self.terms, key=lambda term: term.bytes)


def memory(setup: Setup) -> Memory:
    """The peak of a step of `setup`, on the GPU that holds most. Raises WrongInput for an engine, an optimizer or a
    cut that it does not know."""
    engine = engine_of(setup)
    _check(setup)
    candidates = [(*found, stage) for stage in stages(setup) for found in phases(setup, engine, stage)]
    phase, terms, stage = max(candidates, key=lambda found: _sum(found[1]))
    allocated = _sum(terms)
    used = [] if phase == START else [states.gradients(setup, engine, stage), *_idle_logits(setup, engine, phase)]
    fragments = _fragments(terms, used)
    beside = outside(setup)
    listed = tuple(term for term in [*terms, fragments, *beside] if term.bytes > 0)
    reserved = allocated + fragments.bytes
    total = reserved + _sum(beside)
    exact = _sum([term for term in listed if term.kind == "state"])
    below, above, reasons = doubt(setup, total, exact)
    return Memory(
        terms=tuple(sorted(listed, key=lambda term: -term.bytes)),
        phase=phase,
        allocated=allocated,
        reserved=reserved,
        total=total,
        low=total - below,
        high=total + above,
        capacity=capacity(setup.gpu),
        host=max(host.needed(setup, stage) for stage in stages(setup)),
        host_capacity=host.assumed(setup.gpu, host.here(setup)),
        doubts=reasons,
    )


def _check(setup: Setup) -> None:
    parts = setup.tensor * setup.context_parallel * setup.pipeline
    if parts < 1 or setup.gpus < 1 or setup.gpus % parts:
        raise WrongInput(
            f"{setup.gpus} GPUs cannot be cut into {setup.tensor} x {setup.context_parallel} x {setup.pipeline}",
            "tensor x context x pipeline parallel GPUs must divide the number of GPUs",
        )
    known = {
        "checkpointing": (setup.checkpointing, ("none", "selective", "full")),
        "offload": (setup.offload, ("none", "optimizer", "parameters", "both")),
    }
    for name, (given, allowed) in known.items():
        if given not in allowed:
            raise WrongInput(f"{name} `{given}` is not known", f"one of: {', '.join(allowed)}")


def capacity(gpu: Gpu) -> float:
    """Bytes a process can have on `gpu`: what the driver reports, less what it keeps."""
    return gpu.memory_bytes * (1.0 - DRIVER)


def _fragments(terms: list[Term], idle: list[Term]) -> Term:
    """Between the allocator's blocks: a share, and blocks that are free at the peak but smaller than what is asked for
    then, so that they serve nobody (PyTorch, CUDACachingAllocator: segments are not merged)."""
    held = {term.name for term in terms}
    extra = [term for term in idle if term.name not in held and term.bytes > 0]
    words = f"{FRAGMENTS:.0%} between the allocator's blocks" + "".join(f", {term.name} (idle)" for term in extra)
    return Term("fragments", FRAGMENTS * _sum(terms) + _sum(extra), words)


def _idle_logits(setup: Setup, engine: Engine, phase: str) -> list[Term]:
    """16-bit logits that were made fp32: freed by then, in a block half as large as the fp32 copies."""
    if phase != LOSS or engine.loss != "fp32":
        return []
    tokens = setup.micro_batch * setup.length / setup.context_parallel
    return [Term("16-bit logits", 2.0 * tokens * setup.shape.vocab / setup.tensor, "freed, too small for fp32 ones")]


def _sum(terms: list[Term]) -> float:
    return sum(term.bytes for term in terms)
