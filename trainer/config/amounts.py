"""Whole numbers as people write them (524288, 50M, 1.5B, 48Mi), and what divides them."""

from __future__ import annotations

from fractions import Fraction

MULTIPLES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def amount(text: str) -> int:
    """A whole number: K, M, B are powers of 1000, Ki, Mi, Gi of 1024. Raises ValueError."""
    digits = text.strip().rstrip("KMBGIkmbgi")
    suffix = text.strip()[len(digits) :].lower()
    if suffix not in MULTIPLES:
        raise ValueError(text)
    number = Fraction(digits) * MULTIPLES[suffix]  # exact: 2.61B is 2610000000
    if number.denominator != 1:
        raise ValueError(text)
    return int(number)


def divisors(number: int) -> list[int]:
    """What `number` can be cut into whole pieces by, rising; all of them, itself included."""
    return [size for size in range(1, number + 1) if number % size == 0]
