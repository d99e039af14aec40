"""Opening a NaCl secretbox, XSalsa20 and Poly1305, which `cryptography` lacks: cosign's key files are sealed with it.

D. J. Bernstein, "Extending the Salsa20 nonce" (2011) and "Cryptography in NaCl", section 10. Only for files of a few
hundred bytes that lie on this machine: it is neither fast nor free of timing differences.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

CONSTANTS = struct.unpack("<4I", b"expand 32-byte k")
DIAGONAL = (0, 5, 10, 15)
MAC = 16  # bytes of the Poly1305 tag in front
MASK = 0xFFFFFFFF


def unsealed(box: bytes, nonce: bytes, key: bytes) -> bytes | None:
    """The content of a secretbox, or None when the key is not its key. nonce: 24 bytes; key: 32 bytes."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.poly1305 import Poly1305

    subkey = hsalsa20(key, nonce[:16])
    stream = b"".join(block(subkey, nonce[16:], number) for number in range((32 + len(box)) // 64 + 1))
    try:
        Poly1305.verify_tag(stream[:32], box[MAC:], box[:MAC])
    except InvalidSignature:
        return None
    return bytes(a ^ b for a, b in zip(box[MAC:], stream[32:], strict=False))


def hsalsa20(key: bytes, start: bytes) -> bytes:
    """The key for one long nonce, from its first 16 bytes."""
    words = rounds(state(key, struct.unpack("<4I", start)))
    return struct.pack("<8I", *(words[at] for at in (*DIAGONAL, 6, 7, 8, 9)))


def block(key: bytes, nonce: bytes, number: int) -> bytes:
    """64 bytes of the Salsa20 key stream. nonce: 8 bytes."""
    before = state(key, (*struct.unpack("<2I", nonce), number & MASK, number >> 32))
    return struct.pack("<16I", *((a + b) & MASK for a, b in zip(before, rounds(before), strict=True)))


def state(key: bytes, middle: Sequence[int]) -> list[int]:
    words = struct.unpack("<8I", key)
    c = CONSTANTS
    return [c[0], *words[:4], c[1], *middle, c[2], *words[4:], c[3]]


def rounds(before: Sequence[int]) -> list[int]:
    """Twenty rounds of Salsa20, without the addition at the end."""
    x = list(before)
    for _ in range(10):
        for at in range(4):  # columns, then rows
            quarter(x, *((5 * at + 4 * step) % 16 for step in range(4)))
        for at in range(4):
            quarter(x, *(4 * at + (at + step) % 4 for step in range(4)))
    return x


def quarter(x: list[int], a: int, b: int, c: int, d: int) -> None:
    x[b] ^= turned(x[a] + x[d], 7)
    x[c] ^= turned(x[b] + x[a], 9)
    x[d] ^= turned(x[c] + x[b], 13)
    x[a] ^= turned(x[d] + x[c], 18)


def turned(value: int, by: int) -> int:
    value &= MASK
    return (value << by | value >> (32 - by)) & MASK
