"""GPUs as published tables call them."""

from __future__ import annotations

import re

from profiles.errors import WrongInput
from profiles.gpus import Gpu, gpu

GPUS = (  # the first that is found in the name, as published, wins
    (r"H100.*\bNVL|H100 94 ?GB", "h100-nvl"),
    (r"H100.*PCIE", "h100-pcie"),
    (r"H100 96 ?GB|H100.*HBM2E", "h100-96-sxm"),
    (r"(?<!G)H100", "h100-sxm"),
    (r"H200.*\bNVL", "h200-nvl"),
    (r"(?<!G)H200", "h200-sxm"),
    (r"A100.*40 ?GB.*PCIE|A100.*PCIE.*40 ?GB", "a100-40-pcie"),
    (r"A100.*40 ?GB", "a100-40-sxm"),
    (r"A100.*PCIE", "a100-80-pcie"),
    (r"A100", "a100-80-sxm"),
    (r"\bA10G\b", "a10g"),
    (r"\bA6000\b", "rtx-a6000"),
    (r"6000 ADA", "rtx6000-ada"),
    (r"PRO 6000", "rtx-pro-6000"),
    (r"\b3090\b", "rtx3090"),
    (r"\b4090\b", "rtx4090"),
    (r"\b5090\b", "rtx5090"),
    (r"\bA40\b", "a40"),
    (r"\bL40S\b", "l40s"),
    (r"\bL4\b", "l4"),
    (r"(?<!G)B200", "b200"),
    (r"(?<!G)B300", "b300"),
)


def gpu_of(name: str) -> Gpu:
    """The GPU of a published name ('H100 80GB', 'DGX-H100', 'RTX A6000 48GB'). Raises WrongInput for one we lack."""
    for pattern, key in GPUS:
        if re.search(pattern, name.upper()):
            return gpu(key)
    raise WrongInput(f"the GPU `{name}` is not in the table", "add it to profiles/tables/gpus.yaml")
