"""The random generators of a rank: Python's, NumPy's, torch's on the CPU and on the GPU."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import numpy as np
import torch

APART = 1_000_003  # between the seeds of two steps: more than there are ranks


def seed(number: int, rank: int) -> None:
    """Seeds all of them; rank 0 draws what a single process would, the others draw something else."""
    random.seed(number + rank)
    np.random.seed((number + rank) % 2**32)
    torch.manual_seed(number + rank)


def renew(first: int, step: int) -> None:
    """For another number of ranks than the one that saved: not the numbers of the run's first steps again, but still a
    function of the rank's first seed and the step."""
    seed(first + APART * step, 0)


def file_of(rank: int) -> str:
    """The file of a rank's generators in a checkpoint."""
    return f"random-{rank:05d}.json"


def dump(cuda: bool) -> bytes:
    """All states as JSON. cuda: training is on a GPU; asking one that is there but not in use would open it."""
    name, keys, place, has_gauss, gauss = np.random.get_state()
    content = {
        "python": random.getstate(),
        "numpy": [str(name), [int(key) for key in keys], int(place), int(has_gauss), float(gauss)],
        "torch": _text(torch.get_rng_state()),
        "cuda": _text(torch.cuda.get_rng_state()) if cuda else None,
    }
    return json.dumps(content, separators=(",", ":")).encode()


def restore(data: bytes, cuda: bool) -> None:
    """Puts back what `dump` gave."""
    content = json.loads(data)
    version, inner, gauss = content["python"]
    random.setstate((version, tuple(inner), gauss))
    name, keys, place, has_gauss, cached = content["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), place, has_gauss, cached))
    torch.set_rng_state(_tensor(content["torch"]))
    if content["cuda"] is not None and cuda:
        torch.cuda.set_rng_state(_tensor(content["cuda"]))


def _text(state: Any) -> str:
    return base64.b64encode(bytes(state.numpy().tobytes())).decode()


def _tensor(text: str) -> Any:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
