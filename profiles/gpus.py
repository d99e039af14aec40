"""The GPU table (tables/gpus.yaml) as typed values: the one place that knows memory, speed and names of a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from profiles.document import Loader
from profiles.errors import WrongInput
from profiles.nearest import nearest

TABLE = Path(__file__).parent / "tables" / "gpus.yaml"


@dataclass(frozen=True, slots=True)
class HyperbolicName:
    """Hyperbolic names a GPU by two fields of a rental option: `gpuType` and `gpuFormFactor`."""

    gpu_type: str
    form_factor: str | None


@dataclass(frozen=True, slots=True)
class ProviderNames:
    """Each provider's own name of a GPU; None: not known, the provider must be asked."""

    runpod: str | None = None
    vast: str | None = None
    hyperbolic: HyperbolicName | None = None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One row. `peak`: dense TFLOP/s by precision (fp32 tf32 bf16 fp16 fp8 fp4), no entry: no hardware for it.

    memory_gb: as sold; memory_mib: as the driver reports it; bandwidth_gbs and nvlink_gbs: GB/s (NVLink: both
    directions together, per GPU; None: no NVLink); pcie: generation, x16; watts: the board's power limit; sms:
    streaming multiprocessors. recalled:
    fields nobody has checked.
    """

    key: str
    name: str
    memory_gb: int
    memory_mib: int
    compute_capability: tuple[int, int]
    form_factor: str
    geforce: bool
    peak: dict[str, float]
    bandwidth_gbs: float
    nvlink_gbs: float | None
    pcie: int
    watts: int
    sms: int
    providers: ProviderNames
    recalled: tuple[str, ...] = ()

    @property
    def memory_bytes(self) -> int:
        """Bytes the driver reports."""
        return self.memory_mib * 1024 * 1024

    @property
    def memory_gib(self) -> float:
        """GiB (2^30) the driver reports."""
        return self.memory_mib / 1024

    @property
    def cc(self) -> str:
        """'9.0'."""
        return f"{self.compute_capability[0]}.{self.compute_capability[1]}"

    @property
    def sm(self) -> str:
        """'sm_90'."""
        return f"sm_{self.compute_capability[0]}{self.compute_capability[1]}"

    def peak_for(self, precision: str) -> float | None:
        """Dense TFLOP/s for a profile's precision ('fp8-current' -> fp8), None without hardware for it."""
        kind = {"mxfp8": "fp8", "nvfp4": "fp4"}.get(precision, precision.split("-")[0])
        return self.peak.get(kind)


@lru_cache(maxsize=1)
def table() -> dict[str, Gpu]:
    """All rows by key, in the file's order."""
    rows = yaml.load(TABLE.read_text("utf-8"), Loader=Loader)  # a safe loader, see document.Loader
    return {key: row(key, values) for key, values in rows.items()}


def row(key: str, values: dict[str, Any]) -> Gpu:
    """One row of the file as a Gpu."""
    values = dict(values)
    major, minor = str(values.pop("cc")).split(".")
    names = dict(values.pop("providers", None) or {})
    hyperbolic = names.pop("hyperbolic", None)
    return Gpu(
        key=key,
        compute_capability=(int(major), int(minor)),
        providers=ProviderNames(**names, hyperbolic=HyperbolicName(**hyperbolic) if hyperbolic else None),
        recalled=tuple(values.pop("recalled", ())),
        peak={name: float(value) for name, value in values.pop("peak").items()},
        **values,
    )


def names() -> list[str]:
    """The keys a profile's `gpu.type` may have."""
    return list(table())


def gpu(key: str) -> Gpu:
    """The row `key`. Raises WrongInput, naming the nearest key."""
    found = table().get(key)
    if found is None:
        near = nearest(key, table())
        meant = f"did you mean `{near}`?" if near else f"choose one of: {', '.join(table())}"
        raise WrongInput(f"unknown GPU `{key}`", meant)
    return found
