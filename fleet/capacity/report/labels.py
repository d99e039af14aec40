"""Labels beside points that cover neither each other nor a point."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LETTER, BOLD = 7.6, 8.7  # pixels of an average letter at 13 px in a wide font
LINE = 17.0
SHIFT = 40.0
STEPS = (12.0, 20.0, 30.0, 44.0, 60.0, 78.0, 100.0)
NEAR = 20.0  # pixels from the point up to which no line is needed
FAR = 44.0  # a label of no rank is rather left out than put further away
SIDES = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))
LEANING = ((0.3, -1), (-0.3, -1), (0.3, 1), (-0.3, 1))


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Square pixels shared."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)

    def inside(self, other: Box) -> bool:
        """Nothing of it is outside of `other`."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """A label for the point at x, y; the lower `rank` is placed first, 0 is bold, 2 stays near, 3 very near."""

    x: float
    y: float
    text: str
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a label goes; far: a line should lead to its point."""

    wanted: Wanted
    box: Box
    far: bool


def place(wanted: Sequence[Wanted], taken: Sequence[Box], frame: Box, soft: Sequence[Box] = ()) -> list[Placed]:
    """Greedy, by rank; a label that finds no free place is left out (its number is in the tooltip and the table).

    taken: what may not be covered; soft: what should not be, if there is a place near the point that does not.
    """
    done: list[Placed] = []
    for label in sorted(wanted, key=lambda w: w.rank):
        hard = [*taken, *(other.box for other in done)]
        near = [(moved_in(box, frame), far) for box, far in candidates(label)]
        free = [(box, far) for box, far in near if box.inside(frame) and not covers(box, hard)]
        if free:
            box, far = next((place for place in free if not covers(place[0], soft)), free[0])
            done.append(Placed(label, box, far))
    return done


def moved_in(box: Box, frame: Box) -> Box:
    """Moved sideways by up to SHIFT pixels where it sticks out."""
    by = min(SHIFT, max(0.0, frame.left - box.left)) - min(SHIFT, max(0.0, box.right - frame.right))
    return Box(box.left + by, box.top, box.right + by, box.bottom)


def covers(box: Box, others: Iterable[Box]) -> bool:
    """It overlaps any of the others."""
    return any(box.overlap(other) for other in others)


def candidates(label: Wanted) -> list[tuple[Box, bool]]:
    """Around the point, nearest first."""
    width = (LETTER if label.rank else BOLD) * len(label.text)
    found = []
    for step in STEPS:
        if label.rank > 1 and step > (FAR if label.rank == 2 else NEAR):
            break
        for right, down in SIDES + LEANING:
            slant = 0.7 if right and down else 1.0
            x, y = label.x + right * step * slant, label.y + down * step * slant
            share = 0.5 - (right if (right, down) in LEANING else 0.5 * right)  # of the width that is left of x
            left = x - share * width
            found.append((Box(left, y - LINE / 2, left + width, y + LINE / 2), step > NEAR))
    return found
