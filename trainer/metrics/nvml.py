"""GPUs through NVML (pip package nvidia-ml-py, module pynvml): the library of the driver, no process started.

Field names and units are this project's, the same as of trainer.metrics.smi. NVML reference: docs.nvidia.com/deploy/
nvml-api (power in milliwatts, clocks in MHz, utilisation in percent of the sampling period).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any

# nvmlClocksEventReasons (once nvmlClocksThrottleReasons): why clocks are lower than asked
REASONS = {
    0x01: "idle",
    0x02: "application_clocks",
    0x04: "power_cap",
    0x08: "hardware_slowdown",
    0x10: "sync_boost",
    0x20: "thermal",
    0x40: "hardware_thermal",
    0x80: "power_brake",
    0x100: "display_clocks",
}


class Nvml:
    """Raises ImportError without pynvml, and whatever pynvml raises without a driver. pynvml: another, for tests."""

    name = "NVML"

    def __init__(self, pynvml: Any = None, environment: Mapping[str, str] | None = None) -> None:
        self._nvml = importlib.import_module("pynvml") if pynvml is None else pynvml
        self._environment = os.environ if environment is None else environment
        self._nvml.nvmlInit()

    def read(self) -> list[dict[str, Any]]:
        """One entry per GPU this process may use. A value a GPU does not give is left out; a GPU that is lost has
        `error`. Raises what pynvml raises when the driver itself is gone."""
        found = []
        for index in range(int(self._nvml.nvmlDeviceGetCount())):
            try:
                handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            except Exception as error:
                found.append({"index": index, "error": str(error)})
                continue
            one = self._one(handle, index)
            if visible(index, str(one.get("uuid", "")), self._environment.get("CUDA_VISIBLE_DEVICES")):
                found.append(one)
        return found

    def reopen(self) -> None:
        """After a driver that went and came back."""
        self.close()
        self._nvml.nvmlInit()

    def close(self) -> None:
        """Gives the library back."""
        try:
            self._nvml.nvmlShutdown()
        except Exception:
            pass

    def _one(self, handle: Any, index: int) -> dict[str, Any]:
        n = self._nvml
        found: dict[str, Any] = {"index": index}
        asked: dict[str, Callable[[], Any]] = {
            "name": lambda: _text(n.nvmlDeviceGetName(handle)),
            "uuid": lambda: _text(n.nvmlDeviceGetUUID(handle)),
            "utilisation": lambda: n.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
            "memory_used_bytes": lambda: int(n.nvmlDeviceGetMemoryInfo(handle).used),
            "memory_total_bytes": lambda: int(n.nvmlDeviceGetMemoryInfo(handle).total),
            "temperature_c": lambda: int(n.nvmlDeviceGetTemperature(handle, n.NVML_TEMPERATURE_GPU)),
            "power_w": lambda: n.nvmlDeviceGetPowerUsage(handle) / 1000,
            "power_limit_w": lambda: n.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
            "sm_mhz": lambda: int(n.nvmlDeviceGetClockInfo(handle, n.NVML_CLOCK_SM)),
            "memory_mhz": lambda: int(n.nvmlDeviceGetClockInfo(handle, n.NVML_CLOCK_MEM)),
            "throttle": lambda: reasons(int(self._throttle(handle))),
            "ecc_corrected": lambda: int(self._ecc(handle, n.NVML_MEMORY_ERROR_TYPE_CORRECTED)),
            "ecc_uncorrected": lambda: int(self._ecc(handle, n.NVML_MEMORY_ERROR_TYPE_UNCORRECTED)),
            "pcie_generation": lambda: int(n.nvmlDeviceGetCurrPcieLinkGeneration(handle)),
            "pcie_width": lambda: int(n.nvmlDeviceGetCurrPcieLinkWidth(handle)),
        }
        failures = []
        for name, ask in asked.items():
            try:
                found[name] = ask()
            except Exception as error:  # not supported by this GPU, or not known to this pynvml
                failures.append(error)
        if len(failures) == len(asked):
            found["error"] = str(failures[0])
        return found

    def _throttle(self, handle: Any) -> Any:
        ask = getattr(self._nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        if ask is not None:
            try:
                return ask(handle)
            except Exception:  # a driver older than the name
                pass
        return self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)

    def _ecc(self, handle: Any, kind: Any) -> Any:
        return self._nvml.nvmlDeviceGetTotalEccErrors(handle, kind, self._nvml.NVML_VOLATILE_ECC)


def reasons(bits: int) -> list[str]:
    """Names of the bits, `idle` left out: it slows nothing down."""
    return [name for bit, name in REASONS.items() if bits & bit and name != "idle"]


def visible(index: int, uuid: str, chosen: str | None) -> bool:
    """Whether CUDA_VISIBLE_DEVICES leaves this GPU in: it lists numbers, or beginnings of UUIDs.

    NVML counts by PCI bus; CUDA does too unless the GPUs differ and CUDA_DEVICE_ORDER is not PCI_BUS_ID.
    """
    if chosen is None or "MIG-" in chosen:
        return True
    wanted = [part.strip() for part in chosen.split(",") if part.strip()]
    return any(part == str(index) or (not part.isdigit() and bool(uuid) and uuid.startswith(part)) for part in wanted)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)  # pynvml before 11.5 gave bytes
