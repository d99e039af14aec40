"""What a GPU and its links sustain, from its row in the GPU table."""

from __future__ import annotations

from fleet.capacity.setup import Setup
from fleet.capacity.speed.constants import Constants
from fleet.capacity.widths import eight_bits
from profiles.gpus import Gpu

AMPERE_WATTS = 400 / 312  # watts per TFLOP/s of bf16 peak of the GPUs that the constants were fitted on: A100 SXM ...
HOPPER_WATTS = 700 / 989  # ... and H100 SXM
BLACKWELL_GAIN = 1.2  # more FLOPs per joule than Hopper (recalled: MLPerf's B200 are about two H100)
EXPONENT = 0.6  # speed ~ watts^0.6 where power limits the clock: power ~ f V^2, and V falls with f
GEFORCE = 0.95  # GeForce halves its tensor cores' rate with fp32 sums: neither power nor memory limits them (recalled)
PCIE = {3: 12e9, 4: 24e9, 5: 48e9, 6: 90e9}  # bytes/s of one direction of x16 that copies reach
PEER = {False: 0.8, True: 0.35}  # of that between GPUs; GeForce has no peer-to-peer: through host memory, twice
INFINIBAND = {False: 25e9, True: 50e9}  # bytes/s per GPU between nodes: 200 Gbit/s; 400 with Hopper and later
ETHERNET = 3e9  # bytes/s of a whole rented node: 25 Gbit/s


def sustained(gpu: Gpu, constants: Constants, precision: str = "bf16") -> float:
    """FLOP/s of endless matrix products. 0 where the GPU lacks the precision."""
    rate = (gpu.peak_for(precision) or 0.0) * 1e12 * _share(gpu, constants)
    if eight_bits(precision):
        rate *= constants.product8 / constants.power * (constants.rowwise if precision == "fp8-rowwise" else 1.0)
    return rate


def wide(precision: str) -> str:
    """What the head and attention of a run in `precision` are computed in."""
    return "bf16" if eight_bits(precision) else precision


def _share(gpu: Gpu, constants: Constants) -> float:
    if gpu.geforce:
        return GEFORCE
    if gpu.compute_capability < (8, 9):
        return constants.product * min(1.0, _power(gpu))
    return min(constants.product, constants.power * _power(gpu))


def _power(gpu: Gpu) -> float:
    """What its watts leave of the clock, against the GPU of its kind that the constants were fitted on."""
    reference = AMPERE_WATTS if gpu.compute_capability < (8, 9) else HOPPER_WATTS
    gain = BLACKWELL_GAIN if gpu.compute_capability[0] == 10 else 1.0
    return float(gain * (gpu.watts / gpu.peak["bf16"] / reference) ** EXPONENT)


def attention_rate(gpu: Gpu, constants: Constants, kernel: str) -> float:
    """FLOP/s of attention on causal FLOPs, by kernel: flash1; flash3 and te, on Hopper and later; any other word:
    FlashAttention-2 and its like."""
    peak = gpu.peak["bf16"] * 1e12 * min(1.0, _power(gpu))
    if gpu.compute_capability < (9, 0) or gpu.compute_capability[0] == 12:
        return peak * (constants.flash1_ampere if kernel == "flash1" else constants.flash2_ampere)
    newest = constants.flash3_hopper
    return peak * {"flash1": constants.flash1_hopper, "flash3": newest, "te": newest}.get(
        kernel, constants.flash2_hopper
    )


def inside(setup: Setup, constants: Constants) -> float:
    """Bytes/s a GPU receives from the others of its node in a collective."""
    if setup.link == "nvlink" and setup.gpu.nvlink_gbs:
        return setup.gpu.nvlink_gbs / 2 * 1e9 * constants.nvlink
    return PCIE[setup.gpu.pcie] * PEER[setup.gpu.geforce]


def between(setup: Setup) -> float:
    """Bytes/s a GPU receives from other nodes while all GPUs of its node do. Unknown words count as ethernet."""
    if setup.between == "infiniband":
        return INFINIBAND[setup.gpu.compute_capability >= (9, 0)]
    return ETHERNET / min(setup.gpus, setup.gpus_per_node)
