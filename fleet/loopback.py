"""This machine as seen from itself: where a rehearsal happens, and nothing else."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
