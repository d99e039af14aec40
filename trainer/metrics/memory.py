"""Memory of this process: on the GPU as torch's allocator counts it, on the host as the kernel does."""

from __future__ import annotations

import os
import resource
from pathlib import Path


def host() -> dict[str, int]:
    """Bytes: resident now, and at most so far."""
    found = {"max_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}  # Linux counts KiB
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        found["rss_bytes"] = pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    return found


def cuda() -> dict[str, int]:
    """Bytes of this process's current GPU: allocated to tensors, reserved by the allocator, their maxima, and what the
    GPU has. Tens of microseconds and no synchronisation."""
    import torch

    statistics = torch.cuda.memory_stats()
    return {
        "allocated_bytes": int(statistics.get("allocated_bytes.all.current", 0)),
        "reserved_bytes": int(statistics.get("reserved_bytes.all.current", 0)),
        "max_allocated_bytes": int(statistics.get("allocated_bytes.all.peak", 0)),
        "max_reserved_bytes": int(statistics.get("reserved_bytes.all.peak", 0)),
        "total_bytes": int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory),
        "allocator_retries": int(statistics.get("num_alloc_retries", 0)),
    }
