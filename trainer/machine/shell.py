"""The environment of every process in the container, as lines for a shell: thread caps and what login shells miss.

Login shells (ssh) do not inherit the container's environment, so the set-up script writes these lines to a file that
they read. The file is readable by all: it holds names from a list, and nothing that looks like a secret.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

INIT_ENVIRON = "/proc/1/environ"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
OURS_ALONE = "PYTHONSAFEPATH"  # the run scripts set it for the trainer; a user's own scripts would miss their folder
SHM_FLOOR = 512 << 20  # bytes; Docker's default is 64 MB, NCCL wants tens of MB for each pair of ranks
NAMES = re.compile(
    r"(PATH|LD_LIBRARY_PATH|LIBRARY_PATH|CPATH|LANG|LC_ALL|TZ|VIRTUAL_ENV|HF_HOME|XDG_CACHE_HOME|TMPDIR"
    r"|(CUDA|CUDNN|NCCL|NVIDIA|NVTE|TE|TORCH|PYTORCH|TRITON|PYTHON|OMP|MKL|OPENBLAS|NUMEXPR|PIP|UV|STOKER)[A-Z0-9_]*)\Z"
)
SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE")
SECRET_VALUE = re.compile(r"://[^/\s]*@|\b(hf_|sk-|ghp_|github_pat_|glpat-|AKIA|rpa_)[A-Za-z0-9_-]{8,}|PRIVATE KEY")


def lines(profile: Mapping[str, Any], limits: Mapping[str, Any], environ: Mapping[str, str]) -> list[str]:
    """`export NAME='value'` lines, sorted. limits: as limits.report gives them. What the user set stays as set."""
    values = {name: value for name, value in environ.items() if fit_for_all(name, value)}
    cap = str(threads(profile, limits))
    for name in THREADS:
        values.setdefault(name, cap)
    for name, value in shared_memory(profile, limits).items():
        values.setdefault(name, value)
    return [f"export {name}={shlex.quote(value)}" for name, value in sorted(values.items())]


def threads(profile: Mapping[str, Any], limits: Mapping[str, Any]) -> int:
    """Threads for each process, one process per GPU: from the quota, since `nproc` shows the whole host.

    (384 CPUs seen, 46 allowed, process limit exhausted: vast-ai/base-image ADR 0014.)
    """
    cpus = min(float(limits["cpus_allowed"]), float(limits["cpu_quota"] or math.inf))
    return max(1, int(cpus / max(1, gpu_count(profile))))


def shared_memory(profile: Mapping[str, Any], limits: Mapping[str, Any]) -> dict[str, str]:
    """Settings for a /dev/shm too small for NCCL: slower through the network stack, but it starts."""
    size = limits["shm_bytes"]
    if gpu_count(profile) > 1 and size is not None and size < SHM_FLOOR:
        return {"NCCL_SHM_DISABLE": "1"}
    return {}


def shared_memory_warning(profile: Mapping[str, Any], limits: Mapping[str, Any]) -> str | None:
    """One line when /dev/shm is small and it matters."""
    if not shared_memory(profile, limits):
        return None
    size = limits["shm_bytes"] >> 20
    hint = "start the container with --ipc=host or --shm-size=16g"
    return f"/dev/shm has {size} MB; NCCL goes without it (NCCL_SHM_DISABLE=1), slower between GPUs: {hint}"


def gpu_count(profile: Mapping[str, Any]) -> int:
    """GPUs the profile was made for; 0 for a CPU profile."""
    return int((profile.get("gpu") or {}).get("count", 0))


def fit_for_all(name: str, value: str) -> bool:
    """Whether a variable may stand in a file that everybody on the machine can read."""
    if name == OURS_ALONE:
        return False
    return bool(NAMES.match(name)) and not SECRET_NAME.search(name) and not SECRET_VALUE.search(value)


def container_environment() -> dict[str, str]:
    """What the container was started with, from process 1: the caller may be an ssh session that lacks it."""
    values = dict(os.environ)
    try:
        content = Path(os.environ.get("STOKER_INIT_ENVIRON", INIT_ENVIRON)).read_bytes()
    except OSError:
        return values
    for entry in content.split(b"\0"):
        name, equals, value = entry.decode(errors="surrogateescape").partition("=")
        if equals:
            values[name] = value
    return values
