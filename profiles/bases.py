"""What is known of a base image: each value with how it is known, from the table or, once locked, from the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from profiles.document import Loader

if TYPE_CHECKING:
    from profiles.gpus import Gpu
    from profiles.lock import Lock
    from profiles.schema import Profile

TABLE = Path(__file__).parent / "tables" / "bases.yaml"
Confidence = Literal["probed", "seen", "proxy", "inferred", "recalled", "unknown"]
SURE: tuple[Confidence, ...] = ("probed", "seen")


@dataclass(frozen=True, slots=True)
class Fact:
    """A value and how it is known; value None: not known."""

    value: str | None = None
    confidence: Confidence = "unknown"

    @property
    def sure(self) -> bool:
        """Read from the registry, or stated by a public source."""
        return self.confidence in SURE

    def __str__(self) -> str:
        if self.value is None:
            return "unknown"
        return self.value if self.sure else f"{self.value} ({self.confidence})"


UNKNOWN = Fact()


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """Facts of one base on one platform. known: the base stands in the table or in a lock."""

    base: str
    known: bool
    values: Mapping[str, Fact] = field(default_factory=dict)

    def get(self, key: str) -> Fact:
        """A fact by its key in the table; UNKNOWN when nobody has written it down."""
        return self.values.get(key, UNKNOWN)

    @property
    def ubuntu(self) -> Fact:
        """'24.04'."""
        return self.get("ubuntu")

    @property
    def python(self) -> Fact:
        """'3.12.3' or '3.12'."""
        return self.get("python")

    @property
    def torch(self) -> Fact:
        """'2.8.0a0+5228986c39'."""
        return self.get("torch")

    @property
    def cuda(self) -> Fact:
        """'12.9.1.010'."""
        return self.get("cuda")

    @property
    def driver(self) -> Fact:
        """Driver bundled for the toolkit: '575.57.08'."""
        return self.get("driver")

    @property
    def cudnn(self) -> Fact:
        """'9.10.2'."""
        return self.get("cudnn")

    @property
    def nccl(self) -> Fact:
        """'2.27.3'."""
        return self.get("nccl")

    @property
    def transformer_engine(self) -> Fact:
        """'2.4.0+3cd6870'."""
        return self.get("transformer_engine")

    @property
    def arch(self) -> Fact:
        """TORCH_CUDA_ARCH_LIST: '7.5 8.0 8.6 9.0 10.0 12.0+PTX'."""
        return self.get("arch")


@dataclass(frozen=True, slots=True)
class DriverFloor:
    """What a host's driver must be. branch: major version that always does; full: the toolkit's own;
    compat: lesser versions that do as well, each within its own branch (empty for GeForce)."""

    branch: int
    full: int
    compat: tuple[str, ...]
    confidence: Confidence

    def accepts(self, driver: str) -> bool:
        """Whether a host with this driver ('535.183.06') runs the base. False for what is no version."""
        have = numbers(driver)
        if not have:
            return False
        if have[0] >= self.branch:
            return True
        return any(have[0] == need[0] and have >= need for need in map(numbers, self.compat))

    def __str__(self) -> str:
        lesser = f", or {', '.join(f'R{version}+' for version in self.compat)}" if self.compat else ""
        return f"R{self.branch} or newer{lesser}"


@lru_cache(maxsize=1)
def table() -> dict[str, Any]:
    """The file as it is."""
    rows: dict[str, Any] = yaml.load(TABLE.read_text("utf-8"), Loader=Loader)  # a safe loader, see document.Loader
    return rows


def tags() -> list[str]:
    """Tags of the table, oldest first."""
    return sorted(table()["tags"])


def repository() -> str:
    """The repository the table speaks of."""
    return str(table()["repository"])


def skipped(tag: str) -> bool:
    """Whether the tag is a month that NVIDIA left out."""
    return tag in table()["skipped"]


def base_facts(tag: str, platform: str = "linux/amd64") -> BaseFacts:
    """The table's facts of `nvcr.io/nvidia/pytorch:<tag>`; all unknown when the tag is not in it."""
    row = table()["tags"].get(tag)
    values: dict[str, Fact] = {}
    for key, entry in (row or {}).items():
        ((confidence, value),) = entry.items()
        values[key] = Fact(value, confidence)
    architecture = values.get(f"arch_{platform.partition('/')[2]}")
    if architecture:
        values["arch"] = architecture
    return BaseFacts(f"{repository()}:{tag}", row is not None, values)


def facts_of(profile: Profile, platform: str | None = None, lock: Lock | None = None) -> BaseFacts:
    """Facts of a profile's base: what a lock of the same base has read overrules the table."""
    platform = platform or profile.platforms[0]
    tag = profile.base.tag
    in_table = profile.base.repository == repository() and tag is not None
    facts = base_facts(str(tag), platform) if in_table else BaseFacts(profile.base.name, False)
    locked = lock.bases.get(platform) if lock else None
    if locked is None or locked.kind != "registry" or locked.name != profile.base.name:
        return BaseFacts(profile.base.name, facts.known, facts.values)
    probed = {
        {"arch_list": "arch"}.get(key, key): Fact(value, "probed") for key, value in locked.facts.items() if value
    }
    return BaseFacts(profile.base.name, True, {**facts.values, **probed})


def driver_floor(facts: BaseFacts, gpu: Gpu) -> DriverFloor | None:
    """What a host's driver must be to run the base on this GPU; None when the base's CUDA is not known.

    A CUDA newer than the table gets the newest row of its major with confidence `inferred`.
    """
    cuda = numbers(facts.cuda.value or "")
    if len(cuda) < 2:
        return None
    rows = table()["drivers"]
    row = rows.get(f"{cuda[0]}.{cuda[1]}")
    confidence: Confidence = row["confidence"] if row else "inferred"
    if row is None:
        near = [key for key in rows if numbers(key)[0] == cuda[0] and numbers(key) <= cuda]
        if not near:
            return None
        row = rows[max(near, key=numbers)]
    compat = () if gpu.geforce else tuple(row["compat"])
    if confidence in SURE and not facts.cuda.sure:
        confidence = facts.cuda.confidence
    return DriverFloor(row["branch"], row["full"], compat, confidence)


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: '2.4.0+3cd6870' -> (2, 4, 0), '575.51.02' -> (575, 51, 2)."""
    import re

    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def at_least(version: str, minimum: str) -> bool:
    """Whether a version's leading numbers are not below `minimum`; '2.2' is at least '2.2.0'."""
    have, need = numbers(version), numbers(minimum)
    width = max(len(have), len(need))
    return have + (0,) * (width - len(have)) >= need + (0,) * (width - len(need))
