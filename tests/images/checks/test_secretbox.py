"""secretbox: the vectors of NaCl's own tests (D. J. Bernstein, "Cryptography in NaCl", sections 8 to 10)."""

from __future__ import annotations

from images.checks.secretbox import hsalsa20, unsealed

SHARED = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
FIRST = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
NONCE = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
BOX = bytes.fromhex(
    "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186a"
    "c0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae"
    "90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74"
    "e355a5"
)
MESSAGE = bytes.fromhex(
    "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c6129"
    "6cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde"
    "048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705"
)


def test_hsalsa20_of_the_shared_secret():
    assert hsalsa20(SHARED, bytes(16)) == FIRST


def test_hsalsa20_of_a_nonce():
    expected = "dc908dda0b9344a953629b733820778880f3ceb421bb61b91cbd4c3e66256ce4"
    assert hsalsa20(FIRST, NONCE[:16]).hex() == expected


def test_the_box_opens():
    assert unsealed(BOX, NONCE, FIRST) == MESSAGE


def test_a_changed_box_does_not():
    for at in (0, 15, 16, len(BOX) - 1):
        changed = bytearray(BOX)
        changed[at] ^= 1
        assert unsealed(bytes(changed), NONCE, FIRST) is None


def test_nor_with_another_key_or_nonce():
    assert unsealed(BOX, NONCE, SHARED) is None
    assert unsealed(BOX, NONCE[::-1], FIRST) is None
