"""BuildKit's plain progress, read: which step runs, which came from the cache, which failed and what it said.

The format is that of `--progress=plain`, which Docker 20.10 and today's buildx both write (buildkit
util/progress/progressui/printer.go); newer machine-readable ones are unknown to the older.
"""

from __future__ import annotations

import re
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field

from images.progress import Meter, Progress

LINE = re.compile(r"#(\d+) (.*)")
NUMBERED = re.compile(r"\[(?:\S+ +)?(\d+)/(\d+)\] ")  # '[stage-0 2/5] RUN ...', '[2/5] RUN ...'
OUTPUT = re.compile(r"\d+\.\d+ (.*)")  # seconds since the step's start, then what it wrote
TAIL = 30  # lines kept of a step's output


@dataclass
class Step:
    """One vertex of the build."""

    name: str
    numbered: bool
    ended: str = ""  # 'DONE', 'CACHED', 'ERROR'
    error: str = ""
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))


class Steps:
    """Fed line by line; shows one meter over the numbered steps of the Dockerfile. Use as a context manager."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.stack = progress, ExitStack()
        self.steps: dict[str, Step] = {}
        self.meter: Meter | None = None
        self.last: deque[str] = deque(maxlen=TAIL)  # lines outside any step: the builder's own last words

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    @property
    def cached(self) -> int:
        """How many numbered steps came from the cache. FROM is none: engines disagree on what it is."""
        return sum(
            step.ended == "CACHED" and "] FROM " not in step.name for step in self.steps.values() if step.numbered
        )

    def feed(self, line: str) -> None:
        """One line of the builder's output."""
        found = LINE.fullmatch(line.rstrip())
        if found is None:
            if line.strip():
                self.last.append(line.rstrip())
            return
        number, text = found.groups()
        step = self.steps.get(number)
        if step is None:
            self.begin(number, text)
        else:
            self.go_on(step, text)

    def begin(self, number: str, text: str) -> None:
        numbered = NUMBERED.match(text)
        self.steps[number] = Step(text, numbered is not None)
        if numbered:
            if self.meter is None:
                self.meter = self.stack.enter_context(self.progress.meter("build", int(numbered[2]), "steps"))
            self.meter.note(short(text))

    def go_on(self, step: Step, text: str) -> None:
        word, _, rest = text.partition(" ")
        if word in ("DONE", "CACHED", "CANCELED") or text.startswith("ERROR"):
            # A step from the cache says CACHED; one that failed says ERROR once, with the reason.
            if not step.ended and step.numbered and self.meter is not None and word in ("DONE", "CACHED"):
                self.meter.advance(1)
            step.ended = step.ended or word.rstrip(":")
            step.error = rest if text.startswith("ERROR") else step.error
        elif output := OUTPUT.fullmatch(text):
            step.tail.append(output[1])

    def failure(self) -> str:
        """Why the build failed, in one line: the step and the end of what it wrote, or the builder's own words."""
        for step in self.steps.values():
            if step.ended == "ERROR":
                said = [line.strip() for line in step.tail if line.strip()][-3:]
                return f"{short(step.name)}: {' | '.join([*said, step.error])[:600]}"
        errors = [line for line in self.last if re.match(r"(?i)error|failed", line)] or list(self.last)
        return re.sub(r"^ERROR: ", "", errors[-1])[:600] if errors else "the builder said nothing"

    def tail(self) -> list[str]:
        """The last lines that the failed step wrote."""
        return [line for step in self.steps.values() if step.ended == "ERROR" for line in step.tail]


def short(name: str) -> str:
    """A step's name without its mounts and the rest of a long command."""
    plain = " ".join(re.sub(r" --(mount|link)\S*", "", name).split())
    return plain if len(plain) <= 80 else plain[:77] + "..."
