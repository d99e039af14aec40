"""Copies of live tensors in host memory, so that training goes on while they are written.

The memory is taken once and used again for every save: fresh pages cost more than the copy itself (a first copy of
256 MB runs at 2.5 GB/s on the machine of bench/results/resume.json, the second at 18).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from trainer.checkpoint.piece import Piece


class Snapshot:
    """Host memory for one rank's pieces. Pinned beside a GPU, so that its copies run at the bus's full speed."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, int], Tensor] = {}
        self._stream: torch.cuda.Stream | None = None

    def ready(self) -> torch.cuda.Event | None:
        """Marks, on the training thread, what the GPU was told so far: the copies wait for just that."""
        if not torch.cuda.is_initialized():
            return None
        event = torch.cuda.Event()
        event.record()
        return event

    def take(self, pieces: Sequence[Piece], after: torch.cuda.Event | None) -> list[Piece]:
        """The same pieces with their values of now, in host memory; they are overwritten by the next `take`.

        after: what `ready` gave. Returns when all is copied; may run on another thread than the training's.
        """
        device = next((piece.tensor.device for piece in pieces if piece.tensor.is_cuda), None)
        if device is not None:
            # a thread begins at device 0: going back there would open a context, half a gigabyte, on another rank's GPU
            torch.cuda.set_device(device)
        wanted = [(piece, self._room(piece)) for piece in pieces]
        if device is None or after is None:
            for piece, room in wanted:
                room.copy_(piece.tensor)
        else:
            if self._stream is None:
                self._stream = torch.cuda.Stream(device)
            with torch.cuda.stream(self._stream):
                self._stream.wait_event(after)
                for piece, room in wanted:
                    room.copy_(piece.tensor, non_blocking=True)
            self._stream.synchronize()
        return [replace(piece, tensor=room) for piece, room in wanted]

    def _room(self, piece: Piece) -> Tensor:
        key = (piece.kind, piece.name, piece.begin)
        room = self._kept.get(key)
        if room is None or room.numel() != piece.tensor.numel() or room.dtype != piece.tensor.dtype:
            room = self._kept[key] = _host_memory(piece.tensor)
        return room


def _host_memory(tensor: Tensor) -> Tensor:
    """For a copy of it; pinned beside a GPU, unless the system gives no more of that: a slow copy is one, too."""
    if tensor.is_cuda:
        try:
            return torch.empty(tensor.numel(), dtype=tensor.dtype, pin_memory=True)
        except RuntimeError:
            pass
    return torch.empty(tensor.numel(), dtype=tensor.dtype)
