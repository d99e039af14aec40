"""What a precision's name says about bytes: one place for it."""

from __future__ import annotations


def wide(precision: str) -> bool:
    """fp32 and tf32 keep every tensor in 4 bytes; tf32 shortens numbers only inside a product."""
    return precision in ("fp32", "tf32")


def element(precision: str) -> float:
    """Bytes of a number in activations and in the weights that products read."""
    return 4.0 if wide(precision) else 2.0


def eight_bits(precision: str) -> bool:
    """The blocks' products read 8 bits or fewer; all else stays bf16."""
    return precision.startswith(("fp8", "mxfp8", "nvfp4"))
