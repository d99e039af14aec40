"""What a watcher remembers of a run between two looks, so that the machine's own clock is not needed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fleet.life.signs import Signs


@dataclass(slots=True)
class Heard:
    """The newest signs of one machine. since: when a new step was last heard of, by our clock; read: when its output
    was last read; asked: when that was last tried; state: of the machine then; busy: when its GPUs were last seen at
    work."""

    signs: Signs = field(default_factory=Signs)
    since: datetime | None = None
    read: datetime | None = None
    asked: datetime | None = None
    state: str = ""
    busy: datetime | None = None

    def hear(self, signs: Signs, now: datetime) -> None:
        """Takes in what was read at `now`. The first reading may be of an old step: its own time counts then, as far as
        it is believable."""
        if signs.step is not None and signs.step != self.signs.step:
            first = self.read is None
            self.since = min(signs.at or now, now) if first else now
        self.signs, self.read = signs, now

    def started(self, at: datetime) -> None:
        """Its machine was started again at `at`: what was heard before is no sign of life, no idleness and no end. The
        output of before is read again; its lines tell their time. An end has none: it is old when the last line with a
        time is, unless the container began after that one. One that is not known to be old counts."""
        if self.since is not None and self.since < at:
            self.since = None
        if self.signs.told is not None and self.signs.told < at and not self.signs.begun:
            self.signs = replace(self.signs, stop="", exited=None)

    def due(self, now: datetime, every: timedelta) -> bool:
        """Whether it is time to read its output again; one that failed to be read is not asked more often."""
        last = self.asked or self.read
        return last is None or now - last >= every

    @property
    def quiet(self) -> timedelta | None:
        """How long it was heard out without a new step; None before the first. Time in which nobody could read its
        output, or in which its GPUs were at work, is no silence."""
        if self.since is None or self.read is None:
            return None
        return max(timedelta(0), self.read - max(self.since, self.busy or self.since))
