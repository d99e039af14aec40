"""Offers from three providers at once: as fast as the slowest of them, and one that is down costs its own alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.rows.fleet_sites import NAMES, Said, Served, inv, served
from bench.rows.row import Row, seconds

ALLOWED = 0.3  # seconds beyond the slowest
DELAYS = {"runpod": 0.5, "vast": 0.8, "hyperbolic": 1.2}  # of each answer, in real time
ASKED = ("offers", "--gpu", "h100-sxm", "--gpu-count", "8", "--json")
DOWN = {  # how a provider can be down, with the knob of every read there
    "answers 503": {"read.5xx": True},
    "hangs up": {"read.drop": True},
    "refuses the key": {"auth.revoked_midway": True},
}


def rows(runs: int = 5) -> list[Row]:
    """`./inv offers`, timed; and with each provider down in each way."""
    return [together(runs), without_one()]


def together(runs: int) -> Row:
    """All at once against each one alone, in turns; medians."""
    taken: dict[str, list[float]] = {name: [] for name in (*NAMES, "all")}
    seen: set[str] = set()
    with TemporaryDirectory(prefix="stoker-offers-") as folder, served() as market:
        market.seconds.update(DELAYS)
        environ = market.environ(Path(folder))
        for _ in range(runs):
            for name in NAMES:
                taken[name].append(said(environ, "--provider", name).seconds)
            whole = said(environ)
            taken["all"].append(whole.seconds)
            seen |= {row["provider"] for row in answered(whole)}
    slowest = max(median(taken[name]) for name in NAMES)
    ours = median(taken["all"])
    return Row(
        "offers of three providers, the whole command, against the slowest of them alone",
        f"at most {ALLOWED} s more than the slowest",
        ours <= slowest + ALLOWED and seen == set(NAMES),
        seconds(ours),
        seconds(slowest),
        ratio=ours / slowest,
        samples=taken,
        notes=[f"each answer comes {', '.join(f'{DELAYS[name]} s ({name})' for name in NAMES)} late; in turns"],
    )


def without_one() -> Row:
    """One down, in each way: the others' offers are there, and a line tells of it."""
    wrong: list[str] = []
    for down in NAMES:
        for words, knobs in DOWN.items():
            with TemporaryDirectory(prefix="stoker-offers-") as folder, served() as market:
                market.faults(down, {"create.429_before": None, **knobs})
                wrong += judged(down, words, said(market.environ(Path(folder))), market)
        with TemporaryDirectory(prefix="stoker-offers-") as folder, served() as market:
            environ = {**market.environ(Path(folder)), f"STOKER_{down.upper()}_URL": "http://127.0.0.1:9"}
            wrong += judged(down, "is not reached", said(environ), market)
    cases = len(NAMES) * (len(DOWN) + 1)
    return Row(
        f"one of three providers down: {cases} cases",
        "the others' offers, and a warning that names it",
        not wrong,
        f"{cases - len(wrong)} of {cases}",
        notes=wrong,
    )


def judged(down: str, words: str, told: Said, market: Served) -> list[str]:
    """What is not as it should be."""
    case = f"{down} {words}"
    if told.code != 0:
        return [f"{case}: exit {told.code}: {told.err.strip()[-200:]}"]
    document = json.loads(told.out)
    there = {row["provider"] for row in [*document["offers"], *document["dropped"]]}
    open_book = down == "hyperbolic" and words == "refuses the key"  # its offers need no key (providers.md 3.3)
    if there - {down} != set(NAMES) - {down}:
        return [f"{case}: only {', '.join(sorted(there)) or 'nobody'} is there"]
    if (down in there) == (down not in document["failures"]) and down in there:
        return [] if open_book or not document["failures"] else [f"{case}: {document['failures']}"]
    if set(document["failures"]) != {down}:
        return [f"{case}: failures are told of {sorted(document['failures'])}"]
    return []


def said(environ: Mapping[str, str], *more: str) -> Said:
    return inv(environ, *ASKED, *more)


def answered(told: Said) -> list[dict[str, str]]:
    """The offers, also those that will not do. Raises RuntimeError for a command that failed."""
    if told.code != 0:
        raise RuntimeError(told.err[-1000:])
    document = json.loads(told.out)
    found: list[dict[str, str]] = [*document["offers"], *document["dropped"]]
    return found


if __name__ == "__main__":
    for row in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
        print(row.met, row.what, row.shown, row.against_shown, *row.notes, sep="\n   ")
