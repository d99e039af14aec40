"""What this machine is, as an offer: its GPUs, or its processor alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.offers.offer import ON_DEMAND, Found, Offer, Question
from profiles import gpus
from profiles.errors import WrongInput

PROVIDER = "local"
CPU = "cpu"  # the `gpu` of an offer without one; no key of profiles/tables/gpus.yaml, and the count is then 1
PRICE = "STOKER_LOCAL_PRICE"  # USD per hour of the whole machine: what its owner or its power costs
QUESTION = ("--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits")
SECONDS = 20.0  # a broken GPU lets nvidia-smi hang


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU. index: nvidia-smi's, what a device request and CUDA_VISIBLE_DEVICES take; key: of the table, "" for a
    GPU that is not in it."""

    index: str
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Machine:
    """cards: its GPUs; driver, cuda: "" without one; ram_gb, disk_gb: GB (10^9), disk where the state lies."""

    cards: tuple[Card, ...] = ()
    driver: str = ""
    cuda: str = ""
    cpus: int = 1
    ram_gb: float | None = None
    disk_gb: float | None = None


def read(state: Path) -> Machine:
    """This machine. Never raises: what cannot be read is not told."""
    from images.checks import drivers

    found = drivers.read()
    there = next(path for path in (state, *state.absolute().parents) if path.exists())
    return Machine(
        cards(listed()),
        found.version or "",
        found.cuda or "",
        len(os.sched_getaffinity(0)),
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
        shutil.disk_usage(there).free / 1e9,
    )


def listed() -> str:
    """What nvidia-smi says of the GPUs, "" when there is none or it does not answer."""
    try:
        done = subprocess.run(
            ["nvidia-smi", *QUESTION], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def cards(said: str) -> tuple[Card, ...]:
    """The GPUs in nvidia-smi's lines: `0, NVIDIA H100 80GB HBM3, 81559`."""
    found = []
    for line in said.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 3 and parts[0].isdigit():
            found.append(Card(parts[0], parts[1], key_of(parts[1], float(parts[2]) if parts[2].isdigit() else 0.0)))
    return tuple(found)


def key_of(name: str, mib: float) -> str:
    """The table's key of a GPU as its driver names it; RunPod's ids are such names. mib: its memory, 0: not known."""
    words, rows = spelled(name), gpus.table().values()
    fitting = [row for row in rows if words and words in (spelled(row.name), spelled(row.providers.runpod or ""))]
    return min(fitting, key=lambda row: abs(row.memory_mib - mib)).key if fitting else ""


def spelled(name: str) -> frozenset[str]:
    """The words of a name in any order: PCIe stands before or behind the memory."""
    return frozenset(re.split(r"[^A-Z0-9]+", name.upper())) - {""}


def price(environ: Mapping[str, str]) -> float:
    """USD per hour of the whole machine. Raises WrongInput for what is no price."""
    text = environ.get(PRICE, "").strip()
    if not re.fullmatch(r"(\d{1,4}(\.\d{1,6})?)?", text):
        raise WrongInput(f"{PRICE} is no price", f"give dollars per hour of this machine: {PRICE}=0.35, or unset it")
    return float(text or 0)


def offers(machine: Machine, taken: frozenset[str], question: Question, seen: str, usd_hour: float) -> Found:
    """What of it can be had: for each count that fits its free GPUs an offer; without any GPU, the machine's processor.

    taken: indices of GPUs that our own containers hold; what others do with them is not asked.
    """
    found = Found()
    told: dict[str, Any] = {
        "name": "this machine",
        "region": PROVIDER,
        "tier": "yours",
        "disk_gb": machine.disk_gb,
        "disk_price": 0.0,
        "up_price": 0.0,
        "down_price": 0.0,
        "ram_gb": machine.ram_gb,
        "cpus": float(machine.cpus),
        "cuda": machine.cuda,
        "driver": machine.driver,
        "reliability": None,
    }
    if not machine.cards:
        if question.gpus:
            found.skip(PROVIDER, "this machine", "it has no GPU that answers")
        else:
            found.offers.append(Offer(PROVIDER, CPU, 1, usd_hour, ON_DEMAND, f"{PROVIDER}/{CPU}/1", seen, **told))
        return found
    for card in machine.cards:
        if not card.key:
            found.skip(PROVIDER, card.name, "no GPU of Stoker's table")
    for key in dict.fromkeys(card.key for card in machine.cards if card.key):
        free = len(chosen(machine, key, taken))
        for count in question.counts if key in question.wanted else ():
            if count <= free:
                name, share = f"{PROVIDER}/{key}/{count}", usd_hour / len(machine.cards)
                found.offers.append(Offer(PROVIDER, key, count, share, ON_DEMAND, name, seen, **told))
    return found


def chosen(machine: Machine, key: str, taken: frozenset[str]) -> list[str]:
    """Indices of the free GPUs of one kind."""
    return [card.index for card in machine.cards if card.key == key and card.index not in taken]
