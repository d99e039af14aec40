"""What settling and reconciling found, a row each."""

from __future__ import annotations

from dataclasses import dataclass

# What a row is about.
FOUND = "found"  # a create without an answer had made a machine
NOTHING = "nothing"  # it had not
UNCLEAR = "unclear"  # nobody knows yet
GHOST = "ghost"  # in the ledger, not at the provider
ORPHAN = "orphan"  # ours by its tag, unknown or unwanted: ended
ADOPTED = "adopted"  # ours by its tag or by word, kept
DUPLICATE = "duplicate"  # a second one of one run
LEFTOVER = "leftover"  # its run is over, or it was being ended
FOREIGN = "foreign"  # another ledger's or nobody's: told, never touched
SILENT = "silent"  # the provider did not answer: nothing is concluded about it
HELD = "held"  # a live process is at it
WISH = "wish"  # a wish that a dead process left open


@dataclass(frozen=True, slots=True)
class Row:
    """kind: a word above; done: what had to be done is done (False in a dry run, or when it failed: words say why);
    step: what helps, "" when looking again does."""

    kind: str
    provider: str
    id: str = ""
    tag: str = ""
    run: str = ""
    words: str = ""
    done: bool = True
    step: str = ""
