"""Whether a model can live in this machine's memory at all: without a GPU the kernel would kill it, without a word."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from trainer.config import Config
from trainer.errors import OUTSIDE_FAILED, TrainerError
from trainer.machine import limits
from trainer.model.count import count
from trainer.optim import footprint

MEMINFO = Path("/proc/meminfo")


def fits_host(config: Config, ranks: int, meminfo: Path = MEMINFO, cgroup: Path = Path(limits.CGROUP)) -> None:
    """Raises TrainerError when the state of `ranks` processes is more than all memory and swap of the host (or its
    container's limit). Activations are not counted: what is refused cannot work, what passes may still be slow."""
    total = host_memory(meminfo, cgroup)
    here = dataclasses.replace(config, parallel=dataclasses.replace(config.parallel, offload="none"))
    need = footprint.state(here, ranks) * ranks
    if total is None or need <= total:
        return
    what = (
        f"{count(config.model).total:,} parameters on {ranks} {'rank' if ranks == 1 else 'ranks'} need about "
        f"{need / 1e9:,.0f} GB for weights, gradients and optimizer state; without a GPU they lie in this machine's "
        f"memory, {total / 1e9:,.0f} GB"
    )
    raise TrainerError(what, "take a smaller model, or a machine with GPUs", OUTSIDE_FAILED)


def host_memory(meminfo: Path = MEMINFO, cgroup: Path = Path(limits.CGROUP)) -> int | None:
    """Bytes of memory and swap, or the container's limit where that is less; None where the host does not say."""
    try:
        pairs = (line.split(":", 1) for line in meminfo.read_text(encoding="ascii").splitlines() if ":" in line)
        sizes = {name: int(value.split()[0]) * 1024 for name, value in pairs if value.split()[1:] == ["kB"]}
        total = sizes["MemTotal"] + sizes.get("SwapTotal", 0)
    except (OSError, ValueError, KeyError):
        return None
    limit = limits.memory_limit(cgroup)
    return total if limit is None else min(total, limit + sizes.get("SwapTotal", 0))
