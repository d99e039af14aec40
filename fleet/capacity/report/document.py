"""A plan as one JSON document: what `plan --json` prints and the page is drawn from. Every figure has its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fleet.capacity.figure import Figure
from fleet.capacity.memory.memory import Memory, memory
from fleet.capacity.plan import Choice, Plan
from fleet.capacity.report.flags import flags
from fleet.capacity.setup import Setup
from fleet.capacity.speed.speed import Speed

FORMAT = 1  # raised when a key changes its meaning or goes away
PEAK = "6 FLOPs per parameter that multiplies + 12 x layers x width x length (PaLM, arXiv 2204.02311, appendix B)"
UNITS = {"memory": "bytes; GB is 10^9, GiB 2^30", "time": "hours and seconds as each figure says", "money": "USD"}


def document(plan: Plan, question: Mapping[str, Any] | None = None, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Plain values. question: what was asked, by flag; notes: what was assumed where nobody said it."""
    return {
        "format": FORMAT,
        "units": UNITS,
        "question": dict(question or {}),
        "verdict": plan.chosen.verdict,
        "model": model(plan),
        "goal": {"kind": plan.goal.kind, "amount": plan.goal.amount},
        "chosen": whole(plan.chosen),
        "choices": [row(choice, choice is plan.chosen) for choice in plan.choices],
        "table": [asdict(cell) for cell in plan.table],
        "advice": list(plan.advice),
        "warnings": list(plan.warnings),
        "notes": list(notes),
        "sources": sources(plan),
    }


def model(plan: Plan) -> dict[str, Any]:
    """The shape, its parameters by kind, and what a token of it costs."""
    work, counts = plan.workload, asdict(plan.counts)
    return {
        **asdict(work.shape),
        "length": work.length,
        "batch": work.batch,
        "step_tokens": work.step_tokens,
        "parameters": asdict(Figure(counts.pop("total"), "", "counted by the shape, exact")),
        "parameters_by_kind": counts,
        "flops_per_token": asdict(Figure(plan.flops.total, "FLOP", PEAK)),
        "flops_by_kind": asdict(plan.flops),
    }


def whole(choice: Choice) -> dict[str, Any]:
    """A machine in full."""
    settled = choice.settled
    return {
        "gpu": choice.gpu.key,
        "name": choice.gpu.name,
        "gpus": choice.gpus,
        "verdict": choice.verdict,
        "why": choice.why,
        "price": figure(choice.price),
        "dollars_per_hour": choice.hourly,
        "setup": settings(settled.setup) if settled else None,
        "memory": of_memory(settled.memory) if settled else None,
        "speed": of_speed(settled.speed) if settled and settled.speed else None,
        "bill": of_bill(choice),
        "changes": [
            {
                **{name: getattr(one, name) for name in ("what", "setting", "saves", "costs", "fits")},
                "flags": flags(one.setting),
                "host": memory(one.setup).host,
            }
            for one in choice.changes
        ],
    }


def row(choice: Choice, chosen: bool) -> dict[str, Any]:
    """A machine in one row of the ranking."""
    settled, bill = choice.settled, choice.bill
    setup = settled.setup if settled else None
    return {
        "gpu": choice.gpu.key,
        "gpus": choice.gpus,
        "chosen": chosen,
        "verdict": choice.verdict,
        "why": choice.why,
        "price": figure(choice.price),
        "dollars_per_hour": choice.hourly,
        "precision": setup.precision if setup else None,
        "micro_batch": setup.micro_batch if setup else None,
        "zero": setup.zero if setup else None,
        "checkpointing": setup.checkpointing if setup else None,
        "memory": of_memory(settled.memory) if settled else None,
        "memory_total": settled.memory.total if settled else None,
        "capacity": settled.memory.capacity if settled else None,
        "tokens_per_second": figure(settled.speed.total) if settled and settled.speed else None,
        "tokens": figure(bill.tokens) if bill else None,
        "hours": figure(bill.hours) if bill else None,
        "dollars": figure(choice.dollars),
    }


def settings(setup: Setup) -> dict[str, Any]:
    """A setup with its GPU by name."""
    plain = {name: getattr(setup, name) for name in setup.__slots__ if name not in ("shape", "gpu", "adapter")}
    adapter = asdict(setup.adapter) if setup.adapter else None
    return {"gpu": setup.gpu.key, **plain, "adapter": adapter, "step_tokens": setup.step_tokens}


def of_memory(memory: Memory) -> dict[str, Any]:
    """The peak in bytes, term by term."""
    return {**asdict(memory), "verdict": memory.verdict, "dominant": memory.dominant.name}


def of_speed(speed: Speed) -> dict[str, Any]:
    """The step in seconds, part by part, and its rates."""
    return asdict(speed)


def of_bill(choice: Choice) -> dict[str, Any] | None:
    """Hours, dollars, checkpoints, disk; no dollars where no price is known."""
    if choice.bill is None:
        return None
    plain = choice.bill.to_json()
    plain["dollar_parts"] = plain.pop("money")
    if choice.dollars is None:
        plain.update(dollars=None, dollar_parts={}, price=None, per_billion=None)
    return plain


def figure(value: Figure | None) -> dict[str, Any] | None:
    """As plain values."""
    return None if value is None else asdict(value)


def sources(plan: Plan) -> list[str]:
    """Where the chosen machine's numbers come from, each once: 'what: source'."""
    found = {"FLOPs per token": PEAK}
    choice = plan.chosen
    if choice.price:
        found["price"] = choice.price.source
    if choice.settled:
        found.update({f"memory, {term.name}": term.source for term in choice.settled.memory.terms})
        if choice.settled.speed:
            speed = choice.settled.speed
            found.update({"tokens/s": speed.per_gpu.source, "MFU": speed.mfu_bf16.source})
    if choice.bill:
        bill = choice.bill
        found.update({f"hours, {name}": part.source for name, part in bill.parts.items()})
        if choice.price:
            found.update({f"dollars, {name}": part.source for name, part in bill.money.items()})
        found.update({"checkpoint": bill.checkpoint.source, "time between interruptions": bill.mtbf.source})
    return [f"{what}: {source}" for what, source in found.items() if source]
