"""GPUs through the program nvidia-smi, where pynvml is missing. Same fields as trainer.metrics.nvml."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from typing import Any

from trainer.metrics.nvml import reasons, visible

SECONDS = 10.0  # a driver in trouble lets nvidia-smi hang
MIB = 1024 * 1024

# name of nvidia-smi --help-query-gpu -> ours, and from its text
BASIC: dict[str, tuple[str, Callable[[str], Any]]] = {
    "index": ("index", int),
    "name": ("name", str),
    "uuid": ("uuid", str),
    "utilization.gpu": ("utilisation", lambda text: float(text) / 100),
    "memory.used": ("memory_used_bytes", lambda text: int(float(text) * MIB)),
    "memory.total": ("memory_total_bytes", lambda text: int(float(text) * MIB)),
    "temperature.gpu": ("temperature_c", int),
    "power.draw": ("power_w", float),
}
MORE: dict[str, tuple[str, Callable[[str], Any]]] = {
    **BASIC,
    "power.limit": ("power_limit_w", float),
    "clocks.sm": ("sm_mhz", int),
    "clocks.mem": ("memory_mhz", int),
    "clocks_throttle_reasons.active": ("throttle", lambda text: reasons(int(text, 16))),
    "ecc.errors.corrected.volatile.total": ("ecc_corrected", int),
    "ecc.errors.uncorrected.volatile.total": ("ecc_uncorrected", int),
    "pcie.link.gen.current": ("pcie_generation", int),
    "pcie.link.width.current": ("pcie_width", int),
}


class Smi:
    """Raises OSError when nvidia-smi is not on PATH or finds no GPU."""

    name = "nvidia-smi"

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = os.environ if environment is None else environment
        found = shutil.which("nvidia-smi", path=self._environment.get("PATH"))
        if found is None:
            raise OSError("nvidia-smi is not on PATH")
        self._program = found
        self._fields = MORE
        self.read()

    def read(self) -> list[dict[str, Any]]:
        """One entry per GPU this process may use; values it calls [N/A] are left out. Raises OSError when it fails."""
        try:
            text = self._ask(self._fields)
        except OSError:
            if self._fields is BASIC:
                raise
            text = self._ask(BASIC)  # one unknown field, in an old or a new driver, fails the whole query
            self._fields = BASIC
        rows = [_row(line, self._fields) for line in text.splitlines() if line.strip()]
        chosen = self._environment.get("CUDA_VISIBLE_DEVICES")
        return [row for row in rows if visible(int(row.get("index", -1)), str(row.get("uuid", "")), chosen)]

    def reopen(self) -> None:
        """Nothing stays open between two samples."""

    def close(self) -> None:
        """Nothing to give back."""

    def _ask(self, fields: Mapping[str, Any]) -> str:
        command = [self._program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL
            )
        except subprocess.SubprocessError as error:
            raise OSError(f"nvidia-smi: {error}") from None
        if done.returncode != 0:
            words = (done.stdout.strip() or done.stderr.strip()).splitlines() or ["no word"]
            raise OSError(f"nvidia-smi ended with {done.returncode}: {words[0]}")
        return done.stdout


def _row(line: str, fields: Mapping[str, tuple[str, Callable[[str], Any]]]) -> dict[str, Any]:
    found = {}
    for text, (name, convert) in zip(line.split(","), fields.values(), strict=False):
        try:
            found[name] = convert(text.strip())
        except ValueError:  # [N/A], [Not Supported]
            continue
    return found
