"""A plan's JSON document read into a Page: the only place of the HTML report that knows the document's keys.

Parts may be missing: what is not there is not shown. Numbers may be plain or figures {value, unit, source, low, high}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from fleet.capacity.report.page import Bar, Cell, Change, Choice, Fact, Limits, Page, Term
from fleet.capacity.report.values import card, figure, in_dollars, in_hours, items, lines, mapping, number, parts, said

FLAT = {"total": "memory_total", "capacity": "capacity"}


def page_of(document: Mapping[str, Any]) -> Page:
    """The page of `Plan.to_json()`; tolerant of missing parts."""
    chosen_part = mapping(document.get("chosen"))
    speed, bill, model = (
        mapping(x) for x in (chosen_part.get("speed"), chosen_part.get("bill"), document.get("model"))
    )
    chosen = chosen_choice(chosen_part) if chosen_part else None
    choices = [choice_of(mapping(row)) for row in items(document.get("choices"))]
    return Page(
        model=str(model.get("name") or "a model"),
        verdict=chosen.verdict if chosen else "refused",
        chosen=chosen,
        how=tuple(how(mapping(chosen_part.get("setup")))),
        facts=tuple(facts(model, chosen_part, speed, bill)),
        choices=tuple(with_chosen(choices, chosen)),
        step=parts(speed.get("parts"), "speed model of one step"),
        hours=parts(bill.get("parts"), "", "hours"),
        dollars=parts(bill.get("dollar_parts"), "", "dollars"),
        cells=tuple(cells(document.get("table"))),
        changes=tuple(map(change_of, items(chosen_part.get("changes")))),
        advice=lines(document.get("advice")),
        warnings=lines([line for part in (document, speed, bill) for line in items(part.get("warnings"))]),
        notes=lines(document.get("notes")),
        sources=lines(document.get("sources")),
        asked=tuple((str(k), said(v)) for k, v in mapping(document.get("question")).items() if v not in (None, "", [])),
        limits=limits(mapping(document.get("question")), mapping(document.get("goal"))),
        goal=str(mapping(document.get("goal")).get("kind") or "tokens"),
    )


def change_of(value: object) -> Change:
    """Something that would make it fit."""
    part = mapping(value)
    what, setting, costs, flags = (str(part.get(key) or "") for key in ("what", "setting", "costs", "flags"))
    saves, host = number(part.get("saves")), number(part.get("host"))
    return Change(what, setting, costs, saves, bool(part.get("fits")), flags, host)


def bar_of(part: Mapping[str, Any]) -> Bar | None:
    """The memory of a choice, in full or as its total only (memory_total)."""
    memory = mapping(part.get("memory"))
    total, capacity = (number(memory.get(key, part.get(flat))) for key, flat in FLAT.items())
    if total is None or capacity is None:
        return None
    terms = tuple(
        Term(str(row.get("name")), size, str(row.get("source") or ""), str(row.get("knob") or ""))
        for row in map(mapping, items(memory.get("terms")))
        if (size := number(row.get("bytes"))) is not None
    )
    low, high = number(memory.get("low")), number(memory.get("high"))
    return Bar(total, capacity, terms, low, high, str(memory.get("phase") or ""))


def choice_of(part: Mapping[str, Any]) -> Choice:
    """A row of `choices`."""
    memory = mapping(part.get("memory"))
    return Choice(
        gpu=card(part.get("gpu") or "?"),
        gpus=int(number(part.get("gpus")) or 1),
        verdict=str(part.get("verdict") or memory.get("verdict") or "refused"),
        micro_batch=None if number(part.get("micro_batch")) is None else int(part["micro_batch"]),
        hours=in_hours(part.get("hours")),
        dollars=in_dollars(part.get("dollars")),
        price=figure(part.get("price"), "USD/GPU-hour"),
        speed=figure(part.get("tokens_per_second"), "tokens/s"),
        tokens=figure(part.get("tokens"), "tokens"),
        memory=bar_of(part),
        settings=", ".join(settings(part)),
        why=str(part.get("why") or ""),
        chosen=bool(part.get("chosen")),
    )


def chosen_choice(part: Mapping[str, Any]) -> Choice:
    """The chosen setup, written as a choice."""
    setup, speed, bill = (mapping(part.get(key)) for key in ("setup", "speed", "bill"))
    flat = {
        "gpu": part.get("gpu") or setup.get("gpu"),
        "gpus": part.get("gpus") or setup.get("gpus"),
        "verdict": part.get("verdict"),
        "why": part.get("why"),
        **{key: setup.get(key) for key in ("micro_batch", "precision", "zero", "checkpointing", "offload")},
        "hours": bill.get("hours"),
        "dollars": bill.get("dollars"),
        "price": part.get("price") or bill.get("price"),
        "tokens_per_second": speed.get("total"),
        "tokens": bill.get("tokens"),
        "memory": part.get("memory"),
        "chosen": True,
    }
    return choice_of(flat)


def with_chosen(choices: Iterable[Choice], chosen: Choice | None) -> list[Choice]:
    """The choices with the chosen one in its place, in full; first if the list lacks it."""
    if chosen is None:
        return list(choices)
    others = list(choices)
    for index, choice in enumerate(others):
        if (choice.gpu, choice.gpus) == (chosen.gpu, chosen.gpus):
            whole = replace(
                chosen,
                hours=chosen.hours or choice.hours,
                dollars=chosen.dollars or choice.dollars,
                price=chosen.price or choice.price,
                speed=chosen.speed or choice.speed,
                tokens=chosen.tokens or choice.tokens,
                memory=chosen.memory or choice.memory,
                why=chosen.why or choice.why,
            )
            return [*others[:index], whole, *others[index + 1 :]]
    return [chosen, *others]


def how(setup: Mapping[str, Any]) -> Iterable[str]:
    """The chosen settings in a few words."""
    yield from settings(setup)
    for key, words in (
        ("micro_batch", "micro-batch {}"),
        ("accumulation", "{} micro-batches a step"),
        ("length", "{} tokens long"),
        ("optimizer", "{}"),
    ):
        if setup.get(key):
            yield words.format(said(setup[key]))


def settings(setup: Mapping[str, Any]) -> Iterable[str]:
    """Precision and what is sharded, recomputed and offloaded."""
    for key, words in (
        ("precision", "{}"),
        ("zero", "ZeRO-{}"),
        ("checkpointing", "{} recompute"),
        ("offload", "{} offloaded"),
    ):
        value = setup.get(key)
        if value not in (None, "", "none", 0):
            yield words.format(said(value))


def facts(
    model: Mapping[str, Any], chosen: Mapping[str, Any], speed: Mapping[str, Any], bill: Mapping[str, Any]
) -> Iterable[Fact]:
    """The numbers of the summary."""
    rows = (
        ("parameters", figure(model.get("parameters"), "")),
        ("FLOPs per token", figure(model.get("flops_per_token") or speed.get("flops_per_token"), "FLOP")),
        ("speed, all GPUs", figure(speed.get("total"), "tokens/s")),
        ("speed, each GPU", figure(speed.get("per_gpu"), "tokens/s")),
        ("MFU against the bf16 peak", figure(speed.get("mfu_bf16"), "%")),
        ("MFU against the precision's own peak", figure(speed.get("mfu_own"), "%")),
        ("tokens", figure(bill.get("tokens"), "tokens")),
        ("steps", figure(bill.get("steps"), "steps", "tokens / tokens of a step")),
        ("price", figure(chosen.get("price") or bill.get("price"), "USD/GPU-hour")),
        (
            "RAM of each machine",
            figure(mapping(chosen.get("memory")).get("host") or None, "bytes", "what is offloaded"),
        ),
    )
    return (Fact(label, found) for label, found in rows if found is not None)


def cells(value: object) -> Iterable[Cell]:
    """Rows of the batch table."""
    for row in map(mapping, items(value)):
        length, micro = number(row.get("length")), number(row.get("micro_batch"))
        if length is None:
            continue
        rate = figure(row.get("tokens_per_second"), "tokens/s")
        words = [
            f"{said(rate.value.__trunc__())} tokens/s per GPU" if rate and rate.value else "",
            str(row.get("precision") or "").strip("-"),
            f"{row['checkpointing']} recompute" if row.get("checkpointing") not in (None, "none", "-") else "",
            str(row.get("why") or ""),
        ]
        note = ", ".join(word for word in words if word)
        yield Cell(card(row.get("gpu") or "?"), int(length), None if micro is None else int(micro), note)


def limits(question: Mapping[str, Any], goal: Mapping[str, Any]) -> Limits:
    """What the question asks to stay within; the goal itself is no limit."""

    def asked(*names: str) -> float | None:
        return next((found for name in names if (found := number(question.get(name))) is not None and found > 0), None)

    return Limits(
        dollars=None if goal.get("kind") == "dollars" else asked("budget", "dollars"),
        dollars_per_hour=asked("max_price", "max-price", "most_hourly"),
        hours=None if goal.get("kind") == "hours" else asked("hours"),
    )
