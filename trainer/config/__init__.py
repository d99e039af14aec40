"""What a run is made of: typed, from defaults, presets, profile, files and `--set a.b=c`, checked before it costs."""

from trainer.config.schema import (
    Checkpoint,
    Config,
    Data,
    Evaluate,
    Guard,
    Limits,
    Metrics,
    Model,
    Optim,
    Parallel,
    Precision,
    Stage,
    Train,
)

__all__ = [
    "Checkpoint",
    "Config",
    "Data",
    "Evaluate",
    "Guard",
    "Limits",
    "Metrics",
    "Model",
    "Optim",
    "Parallel",
    "Precision",
    "Stage",
    "Train",
]
