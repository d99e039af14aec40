"""How fast a run goes: where a step's time goes, tokens/s, MFU against named peaks, memory, goodput, dollars, ETA.

    meter.begin(step)
    with meter.part("data"): ...
    with meter.part("backward"): engine.micro(...)     # the model's forward inside is told apart: meter.watch(model)
    with meter.part("optimizer"): engine.step(...)
    record = meter.end(tokens)                         # -> performance_metrics.jsonl
    with meter.part("save"): ...                       # between steps: counted into the next record

Parts may be nested; the time of the inner one is not the outer one's. On a CPU every step is split, on the host's
clock. On a GPU every `sample_every`-th step is, with CUDA events that nobody waits for: the split is read when a later
step ends, and `split.step` says which step it is of. No call here synchronises with the GPU, so `seconds` of one step
is right when the loop reads a loss or a norm at the step's end, and right on average when it does not.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from trainer.metrics import memory
from trainer.metrics.clock import Marks, marks_for
from trainer.metrics.goodput import Tally
from trainer.metrics.peaks import Peaks

PARTS = ("data", "forward", "backward", "optimizer", "other")
WINDOW = 20  # steps that speeds are averaged over
PENDING = 3  # split steps whose events may wait for the GPU


class Part:
    """One name's with-block. Made once, entered thousands of times."""

    def __init__(self, meter: Meter, name: str) -> None:
        self._enter, self._leave, self._name = meter.enter, meter.leave, name

    def __enter__(self) -> None:
        self._enter(self._name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()


class Meter:
    """flops_per_token: training FLOPs the model needs (trainer.model.count), nothing recomputed; `stage` changes it.
    gpus: devices the tokens are shared by. steps: of the whole run. tally: of the run's training lines, for goodput and
    dollars. device: 'cpu', 'cuda', 'cuda:1'. Memory is read on split steps only.
    """

    def __init__(
        self,
        flops_per_token: float,
        peaks: Peaks,
        *,
        gpus: int = 1,
        steps: int = 0,
        device: str = "cpu",
        tally: Tally | None = None,
        sample_every: int = 10,
        marks: Marks | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.flops_per_token, self.peaks, self.gpus, self.steps, self.tally = flops_per_token, peaks, gpus, steps, tally
        self._cuda = device.startswith("cuda")
        self._marks = marks or marks_for(device)
        self._sample_every = max(1, sample_every)
        self._clock = clock
        self._parts: dict[str, Part] = {}
        self._stack: list[str] = []
        self._step: int | None = None
        self._began = 0.0
        self._sampled = False
        self._since: Any = None
        self._segments: list[tuple[str, Any]] = []
        self._pending: deque[tuple[int, Any, list[tuple[str, Any]]]] = deque()
        self._between: dict[str, float] = {}
        self._between_since = 0.0
        self._window: deque[tuple[float, float, int]] = deque(maxlen=WINDOW)  # end, seconds, tokens
        self._ended = 0
        self._memory: dict[str, int] = {}

    def part(self, name: str) -> Part:
        """A with-block whose time is this part's: data, forward, backward, optimizer; save, evaluate between steps."""
        found = self._parts.get(name)
        if found is None:
            found = self._parts[name] = Part(self, name)
        return found

    def watch(self, model: Any) -> Callable[[], None]:
        """Tells the forward pass of this module apart, inside a step; returns what takes the hooks away again."""

        def before(*_: Any) -> None:
            if self._step is not None:
                self.enter("forward")

        def after(*_: Any) -> None:
            if self._step is not None and self._stack and self._stack[-1] == "forward":
                self.leave()

        first = model.register_forward_pre_hook(before)
        second = model.register_forward_hook(after, always_call=True)

        def remove() -> None:
            first.remove()
            second.remove()

        return remove

    def stage(self, flops_per_token: float) -> None:
        """Another sequence length: other FLOPs per token, and speeds start anew."""
        self.flops_per_token = flops_per_token
        self._window.clear()
        self._ended = 0

    def begin(self, step: int) -> None:
        """A step begins; one that was begun and never ended (a skipped one) is forgotten."""
        self._marks.done([mark for _, mark in self._segments] + ([self._since] if self._since is not None else []))
        self._step, self._stack, self._segments, self._since = step, [], [], None
        self._sampled = self._marks.always or step % self._sample_every == 0 or self._ended == 1
        self._began = self._clock()
        if self._sampled:
            self._since = self._marks.mark()

    def enter(self, name: str) -> None:
        """A part begins."""
        if self._step is None:
            if not self._stack:
                self._between_since = self._clock()
        elif self._sampled:
            self._segments.append((self._stack[-1] if self._stack else "other", self._marks.mark()))
        self._stack.append(name)

    def leave(self) -> None:
        """The newest part ends."""
        if not self._stack:
            return
        name = self._stack.pop()
        if self._step is None:
            if not self._stack:
                self._between[name] = self._between.get(name, 0.0) + self._clock() - self._between_since
        elif self._sampled:
            self._segments.append((name, self._marks.mark()))

    def end(self, tokens: int) -> dict[str, Any]:
        """The step is done and applied. tokens: of this step, over all ranks. Gives back the performance record."""
        if self._step is None:
            raise RuntimeError("Meter.end without Meter.begin")
        now = self._clock()
        seconds = max(now - self._began, 1e-9)
        step, self._step, self._stack = self._step, None, []
        if self._sampled:
            self._segments.append(("other", self._marks.mark()))
            self._pending.append((step, self._since, self._segments))
            self._memory = {**memory.host(), **(memory.cuda() if self._cuda else {})}
            self._segments, self._since = [], None
        self._ended += 1
        if self._ended == 2:
            self._window.clear()  # the first step compiled kernels
        self._window.append((now, seconds, tokens))
        record = {"step": step, "seconds": round(seconds, 6), "split": self._split(), **self._speed(step)}
        if self._between:
            record["between"] = {name: round(value, 6) for name, value in self._between.items()}
            self._between = {}
        record["memory"] = self._memory
        if self.tally is not None:
            so_far = self.tally.result()
            record["goodput"] = None if so_far.goodput is None else round(so_far.goodput, 4)
            record["dollars"] = {"attempt": round(so_far.dollars_attempt, 4), "run": round(so_far.dollars, 4)}
        return record

    def _split(self) -> dict[str, Any] | None:
        """Seconds by part of the newest split step whose marks have all passed; None when no new one has."""
        newest = None
        while self._pending and self._marks.passed(self._pending[0][2][-1][1]):
            newest = self._read(*self._pending.popleft())
        while len(self._pending) > PENDING:
            _, since, segments = self._pending.popleft()
            self._marks.done([since, *(mark for _, mark in segments)])
        return newest

    def _read(self, step: int, since: Any, segments: list[tuple[str, Any]]) -> dict[str, Any]:
        split = dict.fromkeys(PARTS, 0.0)
        before = since
        for name, mark in segments:
            split[name] = split.get(name, 0.0) + self._marks.seconds(before, mark)
            before = mark
        self._marks.done([since, *(mark for _, mark in segments)])
        return {"step": step, **{name: round(value, 6) for name, value in split.items()}}

    def _speed(self, step: int) -> dict[str, Any]:
        busy = sum(seconds for _, seconds, _ in self._window)
        tokens = sum(tokens for _, _, tokens in self._window)
        per_second = tokens / busy
        flops = per_second * self.flops_per_token / max(1, self.gpus)
        # saves and evaluations between the steps take their share of the time that is left
        began = self._window[0][0] - self._window[0][1]
        per_step = (self._window[-1][0] - began) / len(self._window)
        speed: dict[str, Any] = {
            "tokens_per_s": round(per_second, 1),
            "steps_per_second": round(len(self._window) / busy, 6),
            "tflops_per_gpu": round(flops / 1e12, 6),
            "mfu": self.peaks.mfu(flops),
            "peaks": self.peaks.to_json(),
            "eta_seconds": round(max(0, self.steps - step) * per_step, 1) if self.steps else None,
        }
        if self.peaks.reason:
            speed["mfu_reason"] = self.peaks.reason
        return speed
