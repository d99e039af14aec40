"""Who is taking part: ranks, their devices, and the few collectives the rest of the trainer needs."""

from __future__ import annotations

import gc
import hashlib
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist

from trainer.config import Config
from trainer.errors import OUTSIDE_FAILED, WRONG_INPUT, TrainerError
from trainer.parallel import port

GIVEN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # by torchrun, DeepSpeed's launcher, ours
LAUNCHERS = "start it with `python -m trainer`, torchrun or the deepspeed launcher, which set all of them"


@dataclass
class World:
    """The ranks of this run as one of them sees them. With one rank every collective is trivial."""

    rank: int
    size: int
    local_rank: int
    local_size: int  # ranks on this host
    device: torch.device
    backend: str  # nccl, gloo, or "" where there is no process group
    _barriers: int = 0  # passed so far; the same number on all ranks

    @property
    def first(self) -> bool:
        """Whether this is rank 0, who writes files and speaks."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over the ranks, as a new tensor of the same shape, type and device."""
        total = tensor.detach().to(self.device, copy=True)
        if self.size > 1:
            dist.all_reduce(total)
        return total.to(tensor.device)

    def mean(self, value: float) -> float:
        """The mean over the ranks, in double precision."""
        return float(self.sum(torch.tensor(value, dtype=torch.float64))) / self.size

    def max(self, value: float) -> float:
        """The largest over the ranks."""
        if self.size == 1:
            return value
        largest = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        return float(largest)

    def any(self, flag: bool) -> bool:
        """Whether it is true on at least one rank."""
        return self.max(float(flag)) > 0

    def gather(self, value: Any) -> list[Any]:
        """Everybody's value in the order of ranks, on rank 0; an empty list elsewhere. Values must pickle."""
        values = self._all(value)
        return values if self.first else []

    def broadcast(self, value: Any) -> Any:
        """Rank 0's value. It must pickle."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def barrier(self) -> None:
        """Returns when all ranks have come here, however late: parallel.timeout, which ends collectives, does not
        count. One rank may write or check a checkpoint for a quarter of an hour while the others wait for it here.

        By the store the ranks met through; asked again and again, since a blocking wait would lock NCCL's watchdog out.
        """
        if self.size == 1:
            return
        store = dist.distributed_c10d._get_default_store()
        self._barriers += 1
        name = f"stoker-barrier-{self._barriers}"
        if store.add(name, 1) == self.size:
            store.set(f"{name}-open", "1")
        pause = 0.001
        while not store.check([f"{name}-open"]):
            time.sleep(pause)
            pause = min(2 * pause, 0.25)
        self.max(0.0)  # nobody goes on, and takes the store away, before all have seen it open

    def same(self, text: str, what: str = "configuration") -> None:
        """Raises TrainerError on every rank, naming the odd ones, unless `text` is the same on all of them."""
        prints = self._all(hashlib.sha256(text.encode()).hexdigest())
        odd = [str(rank) for rank, found in enumerate(prints) if found != prints[0]]
        if odd:
            names = f"rank {odd[0]}" if len(odd) == 1 else f"ranks {', '.join(odd)}"
            raise TrainerError(
                f"{names} started with another {what} than rank 0",
                "start all ranks with the same arguments, files and environment",
                WRONG_INPUT,
            )

    def connect(self) -> None:
        """Makes a process group where there is none: DeepSpeed needs one even for one rank."""
        if not dist.is_initialized():
            backend = "nccl" if self.device.type == "cuda" else "gloo"
            dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
            self.backend = backend

    def leave(self) -> None:
        """Ends this process's part in the group, when all is well on all ranks and engines are closed.

        After a failure: abort. Afterwards too, if anything may still hold an engine: gloo's threads are ended with
        the last reference to the group, and if that is the interpreter's own end, the process dies by SIGABRT
        (PyTorch pull request 179291).
        """
        if dist.is_initialized():
            gc.collect()  # a DistributedDataParallel is part of a cycle
            dist.destroy_process_group()

    def abort(self, exit_code: int) -> NoReturn:
        """Ends this process at once, without waiting for collectives that the other ranks will never join.

        Runs no exit handlers: close logs and boards before.
        """
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                pass
        os._exit(exit_code)

    def _all(self, value: Any) -> list[Any]:
        values: list[Any] = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values


def join(config: Config) -> World:
    """Takes this process's place among the ranks: those its environment names, or itself alone.

    Sets the CUDA device, the threads of a rank, and the process group (nccl on CUDA, gloo on CPU; none for one
    rank). Raises TrainerError for half a set of variables, too few GPUs, or ranks that do not come in time.
    """
    rank, size, local_rank, local_size = _place(os.environ)
    device = _device(config.train.device, local_rank, local_size)
    _threads(local_size)
    world = World(rank, size, local_rank, local_size, device, "")
    if size > 1:
        world.backend = "nccl" if device.type == "cuda" else "gloo"
        _meet(world, config.parallel.timeout)
    return world


def _place(given: Mapping[str, str]) -> tuple[int, int, int, int]:
    """rank, size, local rank, local size."""
    if not any(name in given for name in GIVEN[:3]):
        return 0, 1, 0, 1
    missing = [name for name in GIVEN if not given.get(name)]
    if missing:
        present = [name for name in GIVEN if given.get(name)]
        raise TrainerError(f"{', '.join(present)} set, but not {', '.join(missing)}", LAUNCHERS)
    try:
        rank, size, local_rank = (int(given[name]) for name in GIVEN[:3])
        local_size = int(given.get("LOCAL_WORLD_SIZE") or given.get("LOCAL_SIZE") or size)
    except ValueError as error:
        raise TrainerError(f"RANK, WORLD_SIZE, LOCAL_RANK must be whole numbers: {error}", LAUNCHERS) from None
    if not (0 <= rank < size and 0 <= local_rank < local_size <= size):
        told = f"RANK={rank} WORLD_SIZE={size} LOCAL_RANK={local_rank}, {local_size} ranks on this host"
        raise TrainerError(f"these ranks do not fit together: {told}", LAUNCHERS)
    return rank, size, local_rank, local_size


def _device(asked: str, local_rank: int, local_size: int) -> torch.device:
    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise TrainerError("train.device is cuda, but torch sees no GPU", "set train.device=cpu, or repair the driver")
    count = torch.cuda.device_count()
    if local_size > count:
        raise TrainerError(
            f"{local_size} ranks on this host, but only {count} GPUs are visible",
            f"start {count} ranks, or look at CUDA_VISIBLE_DEVICES",
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def _threads(local_size: int) -> None:
    """Each rank gets its share of the cores, or they all compete for all of them."""
    if local_size > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // local_size))


def _meet(world: World, timeout: float) -> None:
    options: dict[str, Any] = {"timeout": timedelta(seconds=timeout)}
    if world.device.type == "cuda" and _binds_devices(torch.__version__):
        options["device_id"] = world.device
    try:
        dist.init_process_group(world.backend, rank=world.rank, world_size=world.size, **options)
    except (RuntimeError, ValueError) as error:  # torch's DistError, timeouts and store errors are RuntimeErrors
        if port.tell_taken(str(error)):
            raise TrainerError("the port of rank 0 was taken meanwhile", "start again", OUTSIDE_FAILED) from None
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        reason = str(error).strip().splitlines()[0]
        raise TrainerError(
            f"rank {world.rank} of {world.size} could not meet the others at {where}: {reason}",
            f"see whether all {world.size} ranks started; parallel.timeout is {timeout:g} s",
            OUTSIDE_FAILED,
        ) from None


def _binds_devices(version: str) -> bool:
    """device_id makes NCCL connect at once and barriers safe; in 2.6.1 to 2.7.0 it hangs (pytorch issue 153960)."""
    numbers = tuple(int("".join(c for c in part if c.isdigit()) or 0) for part in version.split("+")[0].split(".")[:3])
    return not (2, 6, 0) < numbers < (2, 7, 1)
