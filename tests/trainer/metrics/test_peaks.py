"""Named peaks: an MFU says what it is a share of, or why it is not known."""

from __future__ import annotations

import pytest

from profiles.gpus import table
from trainer.metrics.peaks import TABLE, peaks_of

# as torch.cuda.get_device_name() and nvidia-smi spell them
KNOWN = {
    "NVIDIA H100 80GB HBM3": ("H100 SXM", 989, 1979),
    "NVIDIA H100 PCIe": ("H100 PCIe", 756, 1513),
    "NVIDIA H100 NVL": ("H100 NVL", 835, 1671),
    "NVIDIA H200": ("H200 SXM", 989, 1979),
    "NVIDIA H200 NVL": ("H200 NVL", 836, 1671),
    "NVIDIA A100-SXM4-80GB": ("A100", 312, None),
    "NVIDIA A100 80GB PCIe": ("A100", 312, None),
    "NVIDIA A100-PCIE-40GB": ("A100", 312, None),
    "NVIDIA L40S": ("L40S", 362, 733),
    "NVIDIA L40": ("L40", 181, 362),
    "NVIDIA L4": ("L4", 121, 242),
    "NVIDIA GeForce RTX 4090": ("RTX 4090", 165.2, 330.3),
    "NVIDIA GeForce RTX 5090": ("RTX 5090", 209.5, 419),
    "NVIDIA GeForce RTX 3090": ("RTX 3090", 71, None),
    "NVIDIA RTX 6000 Ada Generation": ("RTX 6000 Ada", 364.2, 728.5),
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": ("RTX PRO 6000 Blackwell", 480, 960),
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition": None,
    "NVIDIA B200": ("B200", 2250, 4500),
    "NVIDIA A10G": ("A10G", 70, None),
    "NVIDIA A10": ("A10", 125, None),
}
SLOWER_OR_UNKNOWN = [
    "NVIDIA GeForce RTX 4090 D",
    "NVIDIA GeForce RTX 4090 Laptop GPU",
    "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
    "GRID A100-10C",
    "NVIDIA H800",
    "AMD Instinct MI300X",
    "",
    None,
]


@pytest.mark.parametrize("device", [name for name, row in KNOWN.items() if row])
def test_a_gpu_is_known_by_its_driver_name(device):
    title, bf16, fp8 = KNOWN[device]
    found = peaks_of(device)
    assert found.named["bf16"].tflops == bf16
    assert found.named["bf16"].name == f"{title} dense bf16"
    assert (found.named["fp8"].tflops if "fp8" in found.named else None) == fp8
    assert found.reason == ""


@pytest.mark.parametrize("device", SLOWER_OR_UNKNOWN + [name for name, row in KNOWN.items() if row is None])
def test_a_slice_a_slower_sister_and_a_stranger_have_no_peak_but_a_reason(device):
    found = peaks_of(device)
    assert found.named == {}
    assert "metrics.peak_bf16_tflops" in found.reason
    assert found.mfu(1e12) == {"bf16": None, "fp8": None}


def test_both_peaks_are_named_and_the_users_own_go_first():
    found = peaks_of("NVIDIA H100 80GB HBM3", "fp8-current", bf16_tflops=1000)
    assert found.mfu(500e12) == {"bf16": 0.5, "fp8": round(500 / 1979, 6)}
    assert found.to_json() == {
        "bf16": {
            "tflops": 1000,
            "name": "NVIDIA H100 80GB HBM3 bf16 as configured (metrics.peak_bf16_tflops)",
        },
        "fp8": {"tflops": 1979.0, "name": "H100 SXM dense fp8"},
    }
    assert peaks_of(None, "fp32", bf16_tflops=0.5).mfu(1e11) == {"bf16": 0.2, "fp8": None}


def test_the_runs_own_precision_has_its_peak_too():
    assert peaks_of("Tesla V100-SXM2-16GB", "fp16").mfu(62.5e12) == {"bf16": None, "fp8": None, "fp16": 0.5}
    assert set(peaks_of("NVIDIA B200", "nvfp4").named) == {"bf16", "fp8", "fp4"}
    assert set(peaks_of("NVIDIA B200", "mxfp8").named) == {"bf16", "fp8"}


@pytest.mark.parametrize("gpu", table().values(), ids=table().keys())
def test_the_numbers_are_those_of_the_projects_gpu_table(gpu):
    """trainer stands alone inside the image; the table of profiles stays outside."""
    name = gpu.providers.runpod or gpu.name  # RunPod names GPUs as the driver does
    for precision, kind in (
        ("bf16", "bf16"),
        ("fp8-current", "fp8"),
        ("nvfp4", "fp4"),
        ("fp32", "fp32"),
        ("fp16", "fp16"),
    ):
        found = peaks_of(name, precision).named.get(kind)
        assert (found.tflops if found else None) == gpu.peak.get(kind), (name, kind)


def test_no_row_of_the_table_is_a_sparse_number():
    for _, title, values in TABLE:
        if "bf16" in values and "fp8" in values:
            assert values["fp8"] == pytest.approx(2 * values["bf16"], rel=0.03), title
