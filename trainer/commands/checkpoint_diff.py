"""`checkpoints diff`: two checkpoints side by side, by what they say and, with --tensors, by every number."""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainer.checkpoint.difference import DIFFERENT, EQUAL, Difference, Fact, Tensor, compare
from trainer.checkpoint.space import taken
from trainer.commands import checkpoint_place as places
from trainer.commands import opened
from trainer.commands.checkpoint_speed import Speed
from trainer.errors import CHECK_FAILED, TrainerError

STORY = """What the manifests say differently: config, precision, engine and ranks, step, data, lineage, files. With
--tensors, every tensor by its bits, whatever ranks and ZeRO stage wrote it. A difference is an answer: exit code 0;
with --within, 1 unless all tensors agree."""
SHOWN = 12  # tensors that differ, the worst first, in the text
CUT = 60  # characters of a value in the text


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    parser.add_argument("a", metavar="A", help="RUN/checkpoints/step-..., or a run: its newest")
    parser.add_argument("b", metavar="B", help="the other one")
    parser.add_argument("--tensors", action="store_true", help="hash both, then compare every tensor (needs torch)")
    parser.add_argument("--within", metavar="R", help="exit 1 unless tensors agree within this relative difference")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(act=run)


def run(options: argparse.Namespace) -> int:
    """Compares and prints."""
    within = _within(options.within)
    a, b = _chosen(options.a), _chosen(options.b)
    tensors = options.tensors or within is not None
    speed = Speed("comparing", 2 * (taken(a) + taken(b)) if tensors else 0)
    if tensors:
        with opened.needs_torch():
            import trainer.checkpoint.tensor_difference  # noqa: F401
    found = compare(a, b, tensors, speed)
    speed.close()
    if options.json:
        print(json.dumps(_document(found, within), indent=1))
    else:
        print("\n".join(lines(found)))
    return CHECK_FAILED if within is not None and not found.agrees(within) else 0


def lines(found: Difference) -> list[str]:
    """For people: what differs, by part; then the tensors."""
    told = [f"A {found.a}", f"B {found.b}"]
    for title, facts in (("says", found.facts), ("files", found.files)):
        told += _facts(title, facts)
    if found.tensors is None:
        return told
    counts = Counter(tensor.state for tensor in found.tensors)
    told.append("tensors: " + ", ".join(f"{count} {state}" for state, count in counts.most_common()))
    worst = [tensor for tensor in found.tensors if tensor.state != EQUAL]
    worst.sort(key=lambda tensor: math.inf if tensor.relative is None else tensor.relative, reverse=True)
    told += [_tensor(tensor) for tensor in worst[:SHOWN]]
    if len(worst) > SHOWN:
        told.append(f"  and {len(worst) - SHOWN} more; --json lists all")
    return told


def _facts(title: str, facts: list[Fact]) -> list[str]:
    if not facts:
        return [f"{title}: the same"]
    width = max(len(fact.name) for fact in facts)
    return [f"{title}:", *(f"  {fact.name:<{width}}  {_value(fact.a)} -> {_value(fact.b)}" for fact in facts)]


def _tensor(tensor: Tensor) -> str:
    if tensor.state != DIFFERENT:
        return f"  {tensor.kind} {tensor.name}: {tensor.state}"
    share = f"{tensor.differing:,} of {tensor.elements:,} elements"
    return f"  {tensor.kind} {tensor.name}: {share}, at most {tensor.absolute:.3g} ({tensor.relative:.3g} relative)"


def _value(value: Any) -> str:
    text = "-" if value is None else value if isinstance(value, str) and value else json.dumps(value)
    return text if len(text) <= CUT else text[: CUT - 3] + "..."


def _document(found: Difference, within: float | None) -> dict[str, Any]:
    """JSON has no infinity: a difference from a number that is not finite is told as null."""
    content = {**asdict(found), "a": str(found.a), "b": str(found.b)}
    for tensor in content["tensors"] or []:
        for name in ("absolute", "relative"):
            if tensor[name] is not None and not math.isfinite(tensor[name]):
                tensor[name] = None
    agrees = None if found.tensors is None else found.agrees(within or 0.0)
    return {**content, "agrees": agrees}


def _chosen(path: str) -> Path:
    if places.is_one(path):
        return places.one(Path(path))
    named = argparse.Namespace(path=path, run=None, profile=None)
    return places.some(places.run_folder(named))[0]


def _within(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise TrainerError(f"--within is {text!r}", "give a number such as 1e-5; 0 means equal in every bit")
    return number
