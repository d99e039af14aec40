"""What to type at `plan` to try a change that is written in the keys of the trainer and of a profile."""

from __future__ import annotations

FLAGS = {  # of `plan`, by the keys
    "gpu.count": "--gpu-count",
    "train.micro_batch": "--device-batch-size",
    "train.checkpointing": "--checkpointing",
    "parallel.zero": "--zero",
    "parallel.offload": "--offload",
    "precision.name": "--precision",
    "optim.name": "--optimizer",
    "train.batch": "--batch",
    "model.context": "--length",
}


def flags(setting: str) -> str:
    """'--offload both --zero 3' for 'parallel.offload=both parallel.zero=3'; nothing for what is no setting."""
    told = []
    for part in setting.split():
        key, equals, value = part.partition("=")
        if equals:
            told.append(f"{FLAGS[key]} {value}" if key in FLAGS else f"--set {part}")
    return " ".join(told)
