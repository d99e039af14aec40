"""gpu_metrics.jsonl: GPUs through NVML or nvidia-smi, the host everywhere, and training never disturbed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from trainer.metrics.gpu import Sampler, find
from trainer.metrics.log import JsonLines, read
from trainer.metrics.nvml import reasons, visible
from trainer.metrics.smi import Smi
from trainer.metrics.system import System, process_began

# A driver's library in small: two GPUs, the second of which has no ECC and stops answering when the file says so.
LIBRARY = r"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>
typedef void *device;
static int devices[2];
static int lost(device d) { return d == (device)&devices[1] && access("lost", F_OK) == 0; }
static int gone(void) { return access("gone", F_OK) == 0; }
#define ASK(d) do { if (gone()) return 1; if (lost(d)) return 15; } while (0)
int nvmlInitWithFlags(unsigned f) { return gone() ? 9 : 0; }
int nvmlInit_v2(void) { return gone() ? 9 : 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int e) { return e == 15 ? "GPU is lost" : e == 1 ? "Uninitialized" : "Not Supported"; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return gone() ? 1 : 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, device *d) { *d = &devices[i]; return 0; }
int nvmlDeviceGetName(device d, char *s, unsigned n) { ASK(d); strncpy(s, "NVIDIA H100 80GB HBM3", n); return 0; }
int nvmlDeviceGetUUID(device d, char *s, unsigned n) {
  ASK(d); snprintf(s, n, "GPU-%d", d != (device)devices); return 0; }
int nvmlDeviceGetUtilizationRates(device d, unsigned *u) { ASK(d); u[0] = 97; u[1] = 50; return 0; }
int nvmlDeviceGetMemoryInfo(device d, unsigned long long *m) {
  ASK(d); m[0] = 80ULL << 30; m[1] = 8ULL << 30; m[2] = 72ULL << 30; return 0; }
int nvmlDeviceGetTemperature(device d, unsigned k, unsigned *t) { ASK(d); *t = 61; return k; }
int nvmlDeviceGetPowerUsage(device d, unsigned *p) { ASK(d); *p = 650500; return 0; }
int nvmlDeviceGetEnforcedPowerLimit(device d, unsigned *p) { ASK(d); *p = 700000; return 0; }
int nvmlDeviceGetClockInfo(device d, unsigned k, unsigned *c) {
  ASK(d); *c = k == 1 ? 1755 : k == 2 ? 2619 : 0; return 0; }
int nvmlDeviceGetCurrentClocksThrottleReasons(device d, unsigned long long *r) { ASK(d); *r = 0x25; return 0; }
int nvmlDeviceGetTotalEccErrors(device d, unsigned k, unsigned c, unsigned long long *n) {
  ASK(d); if (d == (device)&devices[1] || c != 0) return 3; *n = k == 0 ? 12 : 1; return 0; }
int nvmlDeviceGetCurrPcieLinkGeneration(device d, unsigned *g) { ASK(d); *g = 5; return 0; }
int nvmlDeviceGetCurrPcieLinkWidth(device d, unsigned *w) { ASK(d); *w = 16; return 0; }
"""
ASKED = """
import json, pathlib, sys
from trainer.metrics.nvml import Nvml
nvml = Nvml(environment={})
print(json.dumps(nvml.read()))
pathlib.Path("lost").touch()
print(json.dumps(nvml.read()[1]))
pathlib.Path("gone").touch()
try:
    print(json.dumps(nvml.read()))
except Exception as error:
    print(json.dumps(str(error)))
pathlib.Path("gone").unlink(); pathlib.Path("lost").unlink()
nvml.reopen()
print(len(nvml.read()))
nvml.close()
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler for a driver library in small")
def test_nvml_is_read_through_the_real_pynvml(tmp_path, environment):
    pytest.importorskip("pynvml")
    (tmp_path / "nvml.c").write_text(LIBRARY)
    library = tmp_path / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", library, tmp_path / "nvml.c"], check=True, timeout=60)
    done = subprocess.run(
        [sys.executable, "-c", ASKED],
        env={**environment, "LD_LIBRARY_PATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    both, lost, gone, back = map(json.loads, done.stdout.splitlines())
    assert both[0] == {
        "index": 0,
        "name": "NVIDIA H100 80GB HBM3",
        "uuid": "GPU-0",
        "utilisation": 0.97,
        "memory_used_bytes": 72 << 30,
        "memory_total_bytes": 80 << 30,
        "temperature_c": 61,
        "power_w": 650.5,
        "power_limit_w": 700.0,
        "sm_mhz": 1755,
        "memory_mhz": 2619,
        "throttle": ["power_cap", "thermal"],
        "ecc_corrected": 12,
        "ecc_uncorrected": 1,
        "pcie_generation": 5,
        "pcie_width": 16,
    }
    assert both[1].keys() == both[0].keys() - {"ecc_corrected", "ecc_uncorrected"}, "what a GPU lacks is left out"
    assert lost == {"index": 1, "error": "GPU is lost"}
    assert gone == "Uninitialized"
    assert back == 2


PROGRAM = """#!/bin/sh
case "$*" in
  *{unknown}*) echo 'Field "{unknown}" is not a valid field to query.'; exit 2;;
  *power.limit*)
echo '0, NVIDIA L40S, GPU-a, 88, 40000, 46068, 70, 301.50, 350.00, 2520, 9001, 0x0000000000000004, 0, 0, 4, 16'
echo '1, NVIDIA L40S, GPU-b, [N/A], 10, 46068, 30, [N/A], 350.00, 210, 405, 0x0000000000000001, [N/A], [N/A], 1, 16';;
  *) echo '0, NVIDIA L40S, GPU-a, 88, 40000, 46068, 70, 301.50'; echo '1, NVIDIA L40S, GPU-b, 0, 10, 46068, 30, 22.1';;
esac
"""


def program(folder: Path, unknown: str = "nothing") -> dict[str, str]:
    (folder / "nvidia-smi").write_text(PROGRAM.format(unknown=unknown))
    (folder / "nvidia-smi").chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_nvidia_smi_stands_in_for_nvml(tmp_path):
    first, second = Smi(program(tmp_path)).read()
    assert (first["utilisation"], first["power_w"], first["throttle"]) == (0.88, 301.5, ["power_cap"])
    assert first["memory_used_bytes"] == 40000 * 2**20
    assert second["throttle"] == []
    assert not {"utilisation", "power_w", "ecc_corrected"} & second.keys(), "[N/A] is left out"


def test_a_field_that_this_nvidia_smi_does_not_know_costs_only_the_rarer_ones(tmp_path):
    found = Smi(program(tmp_path, unknown="clocks_throttle_reasons.active")).read()
    assert found[0] == {
        "index": 0,
        "name": "NVIDIA L40S",
        "uuid": "GPU-a",
        "utilisation": 0.88,
        "memory_used_bytes": 40000 * 2**20,
        "memory_total_bytes": 46068 * 2**20,
        "temperature_c": 70,
        "power_w": 301.5,
    }


def test_a_failing_nvidia_smi_is_no_source(tmp_path):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed' >&2; exit 9\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    with pytest.raises(OSError, match="ended with 9: NVIDIA-SMI has failed"):
        Smi({"PATH": str(tmp_path)})
    with pytest.raises(OSError, match="not on PATH"):
        Smi({"PATH": str(tmp_path / "none")})


def test_only_the_gpus_of_this_process_are_sampled(tmp_path):
    assert [gpu["index"] for gpu in Smi({**program(tmp_path), "CUDA_VISIBLE_DEVICES": "1"}).read()] == [1]
    assert [visible(0, "GPU-abc", chosen) for chosen in (None, "0,2", "1", "GPU-ab", "GPU-b", "", "MIG-1")] == [
        True,
        True,
        False,
        True,
        False,
        False,
        True,
    ]


def test_why_clocks_are_low_is_named():
    assert reasons(0x1) == []
    assert reasons(0x4 | 0x40 | 0x1000) == ["power_cap", "hardware_thermal"]


class Flaky:
    """Answers, fails as a lost driver does, answers again."""

    name = "NVML"

    def __init__(self, failing):
        self.failing, self.asked, self.reopened, self.closed = set(failing), 0, 0, False

    def read(self):
        self.asked += 1
        if self.asked in self.failing:
            raise RuntimeError("Driver Not Loaded")
        return [{"index": 0, "utilisation": 0.5}]

    def reopen(self):
        self.reopened += 1

    def close(self):
        self.closed = True


def wait(condition):
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def test_an_error_is_said_once_and_sampling_goes_on(tmp_path):
    said, source = [], Flaky({2, 3})
    sampler = Sampler(JsonLines(tmp_path / "g.jsonl"), 0.01, tmp_path, said.append, source)
    wait(lambda: source.asked >= 5)
    sampler.close()
    sampler.close()
    assert source.closed
    assert source.reopened == 2
    assert [text.split(";")[0] for text in said] == ["NVML failed: Driver Not Loaded", "NVML answers again"]
    found = read(tmp_path / "g.jsonl")
    assert [("gpus" in line) for line in found[:4]] == [True, False, False, True]
    assert all("memory_total_bytes" in line["system"] for line in found)


def test_without_gpus_the_file_holds_the_host_and_why_is_said_once(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as if it were not installed
    said = []
    sampler = Sampler(JsonLines(tmp_path / "g.jsonl"), 0.05, tmp_path, said.append)
    wait(lambda: any("cpu_utilisation" in line["system"] for line in read(tmp_path / "g.jsonl")))
    sampler.close()
    assert len(said) == 1
    assert "no GPU samples" in said[0]
    assert "nvidia-smi is not on PATH" in said[0]
    newest = read(tmp_path / "g.jsonl")[-1]
    assert "gpus" not in newest
    for name in ("cpus", "memory_used_bytes", "memory_total_bytes", "disk_free_bytes", "rss_bytes", "process_cpus"):
        assert newest["system"][name] >= 0, name
    shares = [line["system"].get("cpu_utilisation", 0) for line in read(tmp_path / "g.jsonl")]
    assert all(0 <= share <= 1 for share in shares)


def test_the_real_pynvml_without_a_driver_is_no_source(monkeypatch, tmp_path):
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a driver")
    pytest.importorskip("pynvml")
    said = []
    assert find(said.append) is None
    assert "NVML: NVML Shared Library Not Found" in said[0]


def test_a_driver_that_never_answers_does_not_hold_the_run_up(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.metrics.gpu.JOIN", 0.1)
    release = threading.Event()

    class Stuck(Flaky):
        def read(self):
            release.wait(20)
            return []

    sampler = Sampler(JsonLines(tmp_path / "g.jsonl"), 0.01, tmp_path, print, Stuck(set()))
    began = time.monotonic()
    sampler.close()
    assert time.monotonic() - began < 2
    release.set()


def test_zero_seconds_mean_no_samples(tmp_path):
    Sampler(JsonLines(tmp_path / "g.jsonl"), 0.0, tmp_path, print, Flaky(set())).close()
    assert read(tmp_path / "g.jsonl") == []


def test_the_host_is_read_from_the_kernels_files(tmp_path):
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    cgroup.mkdir()
    (proc / "stat").write_text("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1\n")
    (proc / "meminfo").write_text("MemTotal:  1000 kB\nMemAvailable:  400 kB\n")
    (proc / "self" / "io").write_text("read_bytes: 0\nwrite_bytes: 0\n")
    (cgroup / "memory.max").write_text("500000\n")
    (cgroup / "memory.current").write_text("123\n")
    system = System(tmp_path, proc, cgroup)
    (proc / "stat").write_text("cpu  175 0 100 725 100 0 0 0 0 0\n")
    found = system.read()
    assert found["cpu_utilisation"] == 0.75
    assert (found["memory_used_bytes"], found["memory_total_bytes"]) == (600 * 1024, 1000 * 1024)
    assert (found["container_used_bytes"], found["container_limit_bytes"]) == (123, 500000)
    assert found["process_written_bytes_per_s"] == 0
    empty = System(tmp_path / "none", tmp_path / "none", tmp_path / "none").read()
    assert "cpu_utilisation" not in empty
    assert "disk_free_bytes" not in empty


def test_a_process_began_before_its_first_line(environment):
    code = (
        "import time; time.sleep(0.3)\n"
        "from trainer.metrics.system import process_began\n"
        "print(time.monotonic() - process_began())"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert 0.25 < float(done.stdout) < 20
    assert process_began(Path("/nowhere")) == pytest.approx(time.monotonic(), abs=1)
