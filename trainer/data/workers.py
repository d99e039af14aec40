"""Processes that work on blocks at the same time; what they give comes back in the order of the blocks."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data.block import Block
from trainer.data.documents import Encoded, Rules, Skipped, encode, parts
from trainer.data.index import dtype_for
from trainer.data.tokenizer import load
from trainer.errors import OUTSIDE_FAILED, TrainerError

AHEAD = 3  # blocks per worker that are read before their turn


@dataclass(frozen=True)
class Collected:
    """The characters of a block, and how many documents and characters it has."""

    alphabet: str
    documents: int
    characters: int
    skipped: int


class Tokenize:
    """Blocks to tokens with the tokenizer saved in `folder`."""

    def __init__(self, folder: Path, rules: Rules) -> None:
        self.folder, self.rules = folder, rules

    def start(self) -> Callable[[Block], Encoded]:
        """Loads the tokenizer, once per process."""
        tokenizer = load(self.folder)
        lengths, dtype = tokenizer.token_bytes(), dtype_for(tokenizer.vocab)
        return lambda block: encode(block, self.rules, tokenizer, lengths, dtype)


class Collect:
    """Blocks to the characters that occur in them."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def start(self) -> Callable[[Block], Collected]:
        """Nothing to load."""
        return self._collect

    def _collect(self, block: Block) -> Collected:
        from trainer.data.tokenizers.characters import collect

        skipped = Skipped()
        found = list(parts(block, self.rules, skipped))
        texts = [part.text for part in found]
        characters = sum(len(text) for text in texts)
        return Collected(collect(texts), sum(part.begins for part in found), characters, skipped.count)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work(
    task: Tokenize | Collect, blocks: Iterator[tuple[Block, Any]], workers: int
) -> Generator[tuple[Any, Block, Any], None, None]:
    """(what the task made of a block, the block without its payload, the position after it), in the blocks' order.

    One worker is this process. Raises TrainerError, the first in the blocks' order; and when a worker dies.
    """
    if workers <= 1:
        act = task.start()
        for block, position in blocks:
            yield act(block), block, position
        return
    yield from _pooled(task, blocks, workers)


def _pooled(
    task: Any, blocks: Iterator[tuple[Block, Any]], workers: int
) -> Generator[tuple[Any, Block, Any], None, None]:
    context = multiprocessing.get_context("spawn")  # fork copies the locks of other libraries' threads as they stand
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(task,))
    waiting: deque[tuple[Future[Any], Block, Any]] = deque()
    try:
        for block, position in blocks:
            bare = Block(block.weight, block.file, block.first)
            waiting.append((pool.submit(_act, block), bare, position))
            if len(waiting) >= AHEAD * workers:
                yield _first(waiting)
        while waiting:
            yield _first(waiting)
    except BrokenProcessPool:
        hint = "perhaps the memory was too small: fewer --workers; the same command goes on where it stopped"
        raise TrainerError("a worker process died", hint, OUTSIDE_FAILED) from None
    finally:
        processes = list((getattr(pool, "_processes", None) or {}).values())
        keeper = getattr(pool, "_executor_manager_thread", None)
        pool.shutdown(wait=False, cancel_futures=True)
        if waiting:  # ended early: what they are at is of no use any more
            for process in processes:
                process.terminate()
        for process in processes:
            process.join()
        if keeper is not None:  # while it lives, the exit hook of concurrent.futures may write into its closed pipe
            keeper.join(timeout=10)


def _first(waiting: deque[tuple[Future[Any], Block, Any]]) -> tuple[Any, Block, Any]:
    future, block, position = waiting[0]
    done = future.result()
    waiting.popleft()
    return done, block, position


_do: Callable[[Block], Any]  # of this worker


def _begin(task: Any) -> None:
    global _do
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")  # one core each
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    _do = task.start()


def _end_with(sentinel: int) -> None:
    """A parent killed by SIGKILL cannot end its workers, and they would wait for it for ever."""
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def _act(block: Block) -> Any:
    return _do(block)
