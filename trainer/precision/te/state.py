"""`_extra_state`: what Transformer Engine's modules put into a state dict, and the gate in front of reading it.

In FP8 with delayed scaling it is a pickle of scales and amax histories (1.x: a BytesIO of torch.save; 2.x: a uint8
tensor of pickle). Otherwise it is nothing, but written in three ways: torch.save(None), pickle(None), an empty tensor.
Since 2.18 reading a pickle is refused unless an environment variable allows it (pytorch/_extra_state.py).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from trainer.errors import TrainerError
from trainer.precision.plain import EXTRA

GATE = "NVTE_ALLOW_UNSAFE_PICKLE_EXTRA_STATE"
GATE_SINCE = (2, 18)
MARK = b"amax_history_fwd"  # a key that every delayed-scaling payload has
ZIP = b"PK"  # torch.save's container


def pack(state: dict[str, Any]) -> dict[str, Any]:
    """Drops what holds no scales; a BytesIO becomes a uint8 tensor of its bytes, which weights_only loading takes."""
    kept = {}
    for name, value in state.items():
        if not name.endswith(EXTRA):
            kept[name] = value
            continue
        payload = _bytes(value)
        if MARK in payload:
            kept[name] = torch.frombuffer(bytearray(payload), dtype=torch.uint8)
    return kept


def unpack(state: dict[str, Any], delayed: bool, te: tuple[int, ...]) -> dict[str, Any]:
    """The inverse of pack for a module of Transformer Engine `te`; without delayed scaling there is nothing to restore.

    Raises TrainerError for a 2.x payload under 1.x, which lacks the inverse scales that 1.x reads.
    """
    found = {}
    for name, value in state.items():
        if not name.endswith(EXTRA):
            found[name] = value
        elif delayed and MARK in (payload := _bytes(value)):
            if payload.startswith(ZIP):
                found[name] = io.BytesIO(payload)
            elif te < (2, 0):
                raise TrainerError(
                    "the checkpoint's FP8 scales were saved by Transformer Engine 2.x, and this is 1.x",
                    "resume in an image with Transformer Engine 2.x, as the one that saved it",
                )
            else:
                found[name] = value
    return found


@contextmanager
def gate(open_it: bool) -> Iterator[None]:
    """Allows unpickling inside, and only there. For verified files of our own."""
    before = os.environ.get(GATE)
    if open_it:
        os.environ[GATE] = "1"
    try:
        yield
    finally:
        if open_it:
            os.environ.pop(GATE) if before is None else os.environ.update({GATE: before})


def _bytes(value: Any) -> bytes:
    if isinstance(value, io.BytesIO):
        return value.getvalue()
    if isinstance(value, torch.Tensor):
        return bytes(value.detach().cpu().contiguous().numpy().tobytes())
    return b""
