"""What DeepSpeed is told, what it cannot do here, and how it is imported."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from typing import Any

from trainer.config import Config
from trainer.errors import OUTSIDE_FAILED, TrainerError
from trainer.parallel.world import World

NEVER = 2**62  # steps between DeepSpeed's own progress lines


def check(config: Config, precision: str) -> None:
    """Raises TrainerError for what no stage, or not this one, can do. precision: the resolved name."""
    stage, offload = config.parallel.zero, config.parallel.offload
    if config.optim.name == "muon" and stage > 0:
        raise TrainerError(
            f"Muon needs whole matrices, ZeRO stage {stage} cuts them into flat pieces",
            "set parallel.engine=ddp (or parallel.zero=0), or optim.name=adamw",
        )
    if precision == "fp16" and stage == 0:
        raise TrainerError(
            "fp16 with DeepSpeed needs ZeRO stage 1 or higher: stage 0 does not scale the loss",
            "set parallel.engine=ddp, or parallel.zero=1",
        )
    if offload != "none" and stage == 0:
        raise TrainerError(f"parallel.offload={offload} needs ZeRO", "set parallel.zero=1, 2 or 3")
    if offload in ("parameters", "both") and stage != 3:
        raise TrainerError(f"parallel.offload={offload} needs ZeRO stage 3", "set parallel.zero=3")


def shrinks(config: Config, precision: str) -> bool:
    """Whether the model's parameters become 16 bits wide, with fp32 masters in the optimizer.

    At stage 0 they stay fp32 under autocast, as with DDP: DeepSpeed would keep 16-bit gradients there.
    """
    return config.parallel.zero > 0 and precision != "fp32"


def settings(config: Config, precision: str, world: World) -> dict[str, Any]:
    """DeepSpeed's configuration. precision: the resolved name; FP8 recipes compute on bf16 parameters."""
    told: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,  # ours; DeepSpeed only multiplies with it for its own reports
        # Boundaries are set by hand, as the number of micro-batches changes with the curriculum. Not 1: older
        # releases take 1 as leave to not accumulate in the offloaded gradient (stage_1_and_2.py).
        "gradient_accumulation_steps": 2,
        "gradient_clipping": config.optim.clip,
        "steps_per_print": NEVER,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": _zero(config, precision, world),
    }
    if shrinks(config, precision):
        # 16-bit gradients of many micro-batches would be added in 16 bits.
        told["data_types"] = {"grad_accum_dtype": "fp32"}
        if precision == "fp16":
            # hysteresis 1: halve at the first overflow, as torch's GradScaler.
            told["fp16"] = {"enabled": True, "loss_scale": 0, "initial_scale_power": 16, "hysteresis": 1}
        else:
            told["bf16"] = {"enabled": True}
    return told


def _zero(config: Config, precision: str, world: World) -> dict[str, Any]:
    cuda = world.device.type == "cuda"
    width = 2 if shrinks(config, precision) else 4
    bucket = config.parallel.bucket_mb * 2**20 // width
    chosen: dict[str, Any] = {
        "stage": config.parallel.zero,
        "reduce_bucket_size": bucket,
        "allgather_bucket_size": bucket,
        "contiguous_gradients": True,
        "overlap_comm": cuda and config.parallel.zero > 0,
    }
    for place, asked in (("optimizer", ("optimizer", "both")), ("param", ("parameters", "both"))):
        if config.parallel.offload in asked:
            chosen[f"offload_{place}"] = {"device": "cpu", "pin_memory": cuda}
    return chosen


def load(world: World, precision: str) -> Any:
    """Imports DeepSpeed for this world's device. Raises TrainerError naming the package when it is missing, and where
    it refuses fp16.

    Its log and prints go to standard error: standard output carries our step lines.
    """
    if world.device.type == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
        os.environ.setdefault("LOCAL_SIZE", str(world.local_size))  # or it counts NUMA nodes
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    if world.size == 1:
        for name, value in alone.items():
            os.environ.setdefault(name, value)  # it wants to see a launcher; the group exists already (World.connect)
    # DeepSpeed still calls collectives by names that newer torch warns of on every rank
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.distributed")
    try:
        with contextlib.redirect_stdout(sys.stderr):
            deepspeed = importlib.import_module("deepspeed")
            operations = importlib.import_module("deepspeed.ops")
    except ImportError as error:
        raise TrainerError(
            f"parallel.engine=deepspeed, but it cannot be imported: {error}",
            "pip install deepspeed, or set parallel.engine=ddp",
            OUTSIDE_FAILED,
        ) from None
    for handler in deepspeed.utils.logger.handlers:
        if getattr(handler, "stream", None) is sys.stdout:
            handler.setStream(sys.stderr)
    if world.device.type == "cpu":
        # Else it compiles a shared-memory all-reduce for inference, half a minute of g++ at every first start.
        operations.__compatible_ops__["deepspeed_shm_comm"] = False
    if precision == "fp16" and not deepspeed.accelerator.get_accelerator().is_fp16_supported():
        raise TrainerError("DeepSpeed refuses fp16 on this device", "set precision.name=bf16, or parallel.engine=ddp")
    return deepspeed
