"""DeepSpeed's own estimate of what weights, gradients and optimizer state need, to hold ours against.

runtime/zero/stage_1_and_2.py and stage3.py, estimate_zero{2,3}_model_states_mem_needs: bytes on one GPU, activations
left out. It prints GiB and calls them GB.
"""

from __future__ import annotations


def stage2(parameters: float, gpus: int, offload: bool = False) -> float:
    """16-bit weights and gradients whole, 16 bytes per parameter cut; with the optimizer offloaded, weights only."""
    return 2.0 * parameters if offload else 4.0 * parameters + 16.0 * parameters / gpus


def stage3(parameters: float, largest_layer: float, gpus: int, offload: str = "none") -> float:
    """4 bytes of the largest layer, 18 per parameter cut; offloaded optimizer: 2 of them; parameters too: none."""
    cut = {"none": 18.0, "optimizer": 2.0, "both": 0.0}[offload]
    return 4.0 * largest_layer + cut * parameters / gpus
