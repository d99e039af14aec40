"""The precision a run computes in: decided once, printed, saved with the run, compared on resume."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from trainer.errors import TrainerError

FP8 = ("fp8-current", "fp8-delayed", "fp8-block", "mxfp8", "nvfp4")
# Rows and columns of a multiplied matrix. TE asserts 8 and 16 (utils.py, assert_dim_for_fp8_exec), its documentation
# says 16 and 16, an MXFP8 block is 32 long (constants.py); NVFP4's is 16, but its transposed copies pair up.
ALIGNMENT = {"fp8-current": 16, "fp8-delayed": 16, "fp8-block": 16, "mxfp8": 32, "nvfp4": 32}
ALWAYS = ("name", "backend", "emulate")
IN_FP8 = ("min_dim", "keep_ends", "warmup_steps")
IN_DELAYED = ("margin", "amax_history", "amax_algorithm")


@dataclass(frozen=True)
class Resolved:
    """What policy.resolve decided. The fields from min_dim on count in FP8 only, the last three in fp8-delayed only."""

    name: str  # one of config.PRECISIONS, never auto
    backend: str  # plain, te, native
    reason: str  # one sentence
    device: str  # cpu, cuda
    emulate: bool = False  # FP8 rounding, but the product in fp32: a CPU rehearsal, no speed
    te: str = ""  # Transformer Engine's version where the back end is te
    min_dim: int = 1024
    keep_ends: bool = False
    warmup_steps: int = 0
    margin: int = 0
    amax_history: int = 1024
    amax_algorithm: str = "max"

    @property
    def fp8(self) -> bool:
        """Whether some layers multiply in less than 16 bits."""
        return self.name in FP8

    @property
    def alignment(self) -> int:
        """What rows and columns of an FP8 layer must be multiples of."""
        return ALIGNMENT.get(self.name, 1)

    def takes(self, inputs: int, outputs: int) -> bool:
        """Whether a layer of this size is worth FP8 and has a legal shape."""
        smallest, block = min(inputs, outputs), self.alignment
        return self.fp8 and smallest >= self.min_dim and inputs % block == 0 and outputs % block == 0

    def to_json(self) -> dict[str, Any]:
        """As plain values, for RUN/precision.json and checkpoints."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Resolved:
        """What to_json gave. Raises TrainerError for anything else."""
        known = {field.name for field in dataclasses.fields(cls)}
        try:
            return cls(**{name: value for name, value in values.items() if name in known})
        except (TypeError, AttributeError) as error:
            raise TrainerError(
                f"the saved precision cannot be read: {error}", "resume from another checkpoint"
            ) from None

    def describe(self) -> str:
        """One line for the log."""
        layers = f"; layers from {self.min_dim} wide" if self.fp8 else ""
        ends = ", first and last block in bf16" if self.fp8 and self.keep_ends else ""
        later = f", from step {self.warmup_steps} on" if self.fp8 and self.warmup_steps else ""
        loud = " -- FP8 IS EMULATED ON THE CPU: for tests, slower than fp32" if self.emulate else ""
        return f"precision {self.name} ({self.backend}): {self.reason}{layers}{ends}{later}{loud}"


def changed(before: Resolved, now: Resolved) -> list[str]:
    """What would compute differently after a resume, one line each; empty: nothing.

    Another GPU or library version is no change, except for the state of fp8-delayed, which TE 1.x cannot read from 2.x.
    """
    names = list(ALWAYS)
    if before.fp8 or now.fp8:
        names += IN_FP8
    if "fp8-delayed" in (before.name, now.name):
        names += IN_DELAYED
    lines = [
        f"precision {name}: {getattr(before, name)} -> {getattr(now, name)}"
        for name in names
        if getattr(before, name) != getattr(now, name)
    ]
    if now.name == before.name == "fp8-delayed" and now.te.startswith("1.") and not before.te.startswith("1."):
        lines.append(f"Transformer Engine {before.te} -> {now.te}: it cannot read the newer scaling state")
    return lines
