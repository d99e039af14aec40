"""One rank of a user's own DeepSpeed script: trains our GPT by deepspeed.initialize, saves, and goes on two steps.

    python deepspeed_rank.py RESULT.pt JOBS.json

A job: {"name", "folder", "stage", "precision"}; for more see `settings` and `main`. Rank 0 writes by job name what the
live engine held at the save (masters and moments by parameter) and the losses of the steps after it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from trainer.config import Config, Model, Optim, Precision, Train
from trainer.model.gpt import GPT
from trainer.parallel.world import World, join
from trainer.run.corpus import Corpus

BATCH, CONTEXT, STEPS, LATER = 8, 16, 3, 2


def configured() -> Config:
    """The settings of training on, odd sizes: nothing divides by the number of ranks."""
    return Config(
        model=Model(layers=2, heads=2, width=22, context=CONTEXT, vocab=131),
        train=Train(device="cpu", batch=BATCH),
        optim=Optim(lr=1e-2, schedule="constant", warmup=0, weight_decay=0.1, clip=1.0),
    )


def model_of() -> GPT:
    from trainer.precision.backend import build
    from trainer.precision.policy import look, resolve

    torch.manual_seed(3)
    shape = configured().model
    model = GPT(shape, build(resolve(Precision(name="fp32"), look("cpu"), shape)), "sdpa")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


def settings(job: dict, world: World) -> dict:
    zero = {"stage": job["stage"], "reduce_bucket_size": 2000, "allgather_bucket_size": 2000, "overlap_comm": False}
    if job.get("sub_group"):
        zero["sub_group_size"] = job["sub_group"]
    if job.get("offload"):
        zero["offload_optimizer"] = {"device": "cpu"}
    told = {
        "train_batch_size": BATCH,
        "train_micro_batch_size_per_gpu": BATCH // world.size,
        "gradient_clipping": 1.0,
        "steps_per_print": 10**9,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": {**zero, **job.get("zero", {})},
    }
    if job["precision"] == "bf16":
        told["bf16"] = {"enabled": True}
    if job["precision"] == "fp16":
        told["fp16"] = {"enabled": True, "initial_scale_power": 8}
    return {**told, **job.get("settings", {})}


def optimizer_of(job: dict, model: GPT) -> torch.optim.Optimizer:
    """Decay on matrices only, as most scripts have it; or all in one group."""
    if job.get("one_group"):
        return torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1)
    matrices = [one for one in model.parameters() if one.dim() >= 2]
    vectors = [one for one in model.parameters() if one.dim() < 2]
    groups = [{"params": vectors, "weight_decay": 0.0}, {"params": matrices, "weight_decay": 0.1}]
    return torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95))


def train(engine, world: World, steps: range) -> list[float]:
    """The windows that our own training reads in these steps."""
    work = Corpus(configured(), Path("unused"))
    source = work.source(configured(), world)
    losses = []
    for step in steps:
        (inputs, targets), *more = source.micro_batches(step * BATCH, BATCH // world.size, CONTEXT)
        assert not more
        loss = engine(inputs, targets) / targets.numel()
        engine.backward(loss)
        engine.step()
        losses.append(world.mean(float(loss)))
    source.close()
    work.close()
    return losses


def held(engine, job: dict) -> dict:
    """By parameter {"weight", "exp_avg", "exp_avg_sq"}, as DeepSpeed's own functions give them. Collective."""
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    if hasattr(engine.optimizer, "_hp_optimizer_states_linked"):  # 0.19 does it behind the first group's first step
        engine.optimizer._hp_optimizer_states_linked = False
        engine.optimizer._lazy_init_hp_params_optimizer_state()
    found = {}
    for name, parameter in engine.module.named_parameters():
        if job["stage"] == 0:
            found[name] = plainly(engine.optimizer, parameter)
            continue
        states = {kind: safe_get_full_optimizer_state(parameter, kind) for kind in ("exp_avg", "exp_avg_sq")}
        found[name] = {"weight": safe_get_full_fp32_param(parameter), **states}
    return {name: {kind: one.detach().float().cpu().clone() for kind, one in states.items()}
            for name, states in found.items()}  # fmt: skip


def plainly(optimizer, parameter) -> dict:
    """At stage 0 those functions know nothing: the optimizer's own tensors."""
    if not hasattr(optimizer, "fp16_groups"):
        return {"weight": parameter, **moments(optimizer.state[parameter])}
    for number, group in enumerate(optimizer.fp16_groups):  # 16 bits wide, masters beside
        start = 0
        for place, one in enumerate(group):
            if one is not parameter:
                start += one.numel()
            elif hasattr(optimizer, "fp32_groups"):
                master = optimizer.fp32_groups[number][place]
                return {"weight": master, **moments(optimizer.optimizer.state[master])}
            else:
                master = optimizer.fp32_groups_flat[number]
                whole = {"weight": master, **moments(optimizer.optimizer.state[master])}
                cut = slice(start, start + parameter.numel())
                return {kind: value.detach()[cut].view_as(parameter) for kind, value in whole.items()}
    raise KeyError


def moments(state: dict) -> dict:
    return {kind: state[kind] for kind in ("exp_avg", "exp_avg_sq")}


def main(result: str, jobs: str) -> None:
    torch.set_num_threads(1)
    os.environ["DS_ACCELERATOR"] = "cpu"
    world = join(configured())
    world.connect()
    from trainer.parallel.zero_settings import load

    deepspeed = load(world, "fp32")
    deepspeed.accelerator.get_accelerator().is_fp16_supported = lambda: True  # slow arithmetic is good enough here
    Fused = deepspeed.runtime.engine.FusedAdam
    results = {}
    for job in json.loads(Path(jobs).read_text()):
        model = model_of()
        optimizer = optimizer_of(job, model)
        # FusedAdam, for which masters are flat at stage 0, needs a compiler: torch's in its place does the same
        deepspeed.runtime.engine.FusedAdam = torch.optim.AdamW if job.get("fused") else Fused
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=settings(job, world))
        train(engine, world, range(STEPS))
        engine.save_checkpoint(job["folder"], client_state=job.get("client", {}))
        seen = held(engine, job)
        results[job["name"]] = {"held": seen, "losses": train(engine, world, range(STEPS, STEPS + LATER))}
        if world.first:
            torch.save(results, result)
        engine.destroy()
    dist.barrier()
    del engine
    world.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
