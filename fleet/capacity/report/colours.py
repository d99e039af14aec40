"""One colour per memory term, the same in every bar: by what the term is, so that plans look alike.

The classes c1 to c14 are in page.css, in hues that differ for colour-blind eyes too; the numbers stand in the segments
and in the legend, so that nothing hangs on the colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable

KINDS = (
    (("fp8", "fp4"), 7),
    (("activation", "checkpoint", "recompute"), 5),
    (("logit", "loss", "head"), 6),
    (("bucket", "gather", "communication", "live"), 8),
    (("master",), 2),
    (("optimizer", "moment", "adam", "muon"), 3),
    (("gradient",), 4),
    (("weight", "parameter"), 1),
    (("fragment", "allocator", "reserve"), 9),
    (("nccl",), 11),
    (("context", "cuda"), 10),
    (("workspace", "scratch", "compile"), 12),
)
SLOTS = 14
STACK = (1, 2, 4, 3, 7, 5, 0, 6, 8, 12, 9, 10, 11)  # what training holds for good comes first, what is around it last


def colours(names: Iterable[str]) -> dict[str, int]:
    """A slot of 1 to 14 for each name, the kind's own if free; shared only when there are more names."""
    names = list(dict.fromkeys(names))
    taken: dict[str, int] = {}
    for name in names:
        slot = kind(name)
        if slot and slot not in taken.values():
            taken[name] = slot
    for index, name in enumerate(name for name in names if name not in taken):
        free = [slot for slot in range(SLOTS, 0, -1) if slot not in taken.values()]
        taken[name] = free[0] if free else index % SLOTS + 1
    return {name: taken[name] for name in names}


def place(name: str) -> int:
    """Where in a bar a term of this name lies: by its kind, so that bars can be compared whatever is largest."""
    return STACK.index(kind(name))


def kind(name: str) -> int:
    """The slot of the first kind that a word of the name belongs to, 0 if none."""
    low = name.lower()
    return next((slot for words, slot in KINDS if any(word in low for word in words)), 0)
