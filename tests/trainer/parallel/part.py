"""One rank of the tests: trains a small real GPT by each engine it is asked for; rank 0 writes what it saw.

    python part.py RESULT.pt JOBS.json   (started by trainer.parallel.launch, torchrun or DeepSpeed's launcher)

A job: {"name", "engine", "stage", "offload", "precision", "family", "act"}; act is one function of ACTS below.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
from pathlib import Path

import torch

from tests.trainer.parallel.gathered import Gathered, collect, keep, kept
from trainer.config import Config, Model, Optim, Parallel, Train
from trainer.errors import TrainerError
from trainer.model.gpt import GPT
from trainer.parallel.ddp import DDP
from trainer.parallel.world import World, join
from trainer.parallel.zero import Zero

BATCH = 8  # windows in a step, over all ranks
CONTEXT = 16
TOKENS = BATCH * CONTEXT
STEPS = 4
MICRO = (1, 2, 1, 2)  # windows in a micro-batch, by step: the number of micro-batches changes


class Numbers:
    """A precision back end of the plain kind."""

    name = "plain"

    def __init__(self, precision: str) -> None:
        self.dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        self.seen: list[tuple[bool, int]] = []

    def linear(self, inputs, outputs, bias, eligible):
        return torch.nn.Linear(inputs, outputs, bias)

    def autocast(self, step):
        self.seen.append((torch.is_grad_enabled(), step))
        return torch.autocast("cpu", dtype=self.dtype, enabled=self.dtype is not None)

    def scaler(self):
        return torch.amp.GradScaler("cpu") if self.dtype == torch.float16 else None

    def checkpoint(self, function, *arguments):
        return torch.utils.checkpoint.checkpoint(function, *arguments, use_reentrant=False)

    def loading(self):
        return contextlib.nullcontext()

    def before_save(self, state):
        return state

    def after_load(self, state):
        return state


def configured(job: dict) -> Config:
    family = job.get("family", "gpt2")
    llama = family == "llama"
    return Config(
        model=Model(
            family=family,
            layers=2,
            heads=2 if llama else 5,
            width=24 if llama else 25,  # odd: parameters that no number of ranks divides
            context=CONTEXT,
            vocab=61,
            tied=job.get("tied"),
        ),
        optim=Optim(lr=1e-2, clip=0.4, name=job.get("optim", "adamw")),
        train=Train(batch=BATCH, device="cpu", loss_chunk=24, checkpointing=job.get("checkpointing", "none")),
        parallel=Parallel(
            engine=job["engine"], zero=job.get("stage", 0), offload=job.get("offload", "none"), timeout=60
        ),
    )


def optimizer(named):
    """AdamW in two groups, as trainer.optim makes them."""
    named = list(named)
    groups = [
        {"params": [p for _, p in named if p.ndim > 1], "kind": "matrix", "weight_decay": 0.1},
        {"params": [p for _, p in named if p.ndim < 2], "kind": "vector", "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([{**g, "lr": 1e-2, "base_lr": 1e-2} for g in groups if g["params"]], foreach=False)


def real(job: dict, world: World):
    """By parallel.build: the trainer's own optimizer and precision; FP8 emulated."""
    from trainer import parallel
    from trainer.precision import backend, machine, policy

    os.environ["STOKER_FP8_EMULATE"] = "1"
    config = configured(job)
    config.model.width, config.model.heads, config.model.vocab, config.precision.min_dim = 32, 2, 64, 32
    config.precision.name = job.get("precision", "fp32")
    resolved = policy.resolve(config.precision, machine.look("cpu"), config.model, parallel.kind(config))

    def make():
        torch.manual_seed(1)
        return GPT(config.model, backend.build(resolved), "sdpa", config.train.checkpointing, config.train.loss_chunk)

    return parallel.build(config, resolved, world, make)


def build(job: dict, world: World):
    if job.get("real"):
        return real(job, world)
    config = configured(job)
    precision = job.get("precision", "fp32")
    backend = Numbers(precision)
    torch.manual_seed(1)
    model = GPT(config.model, backend, "sdpa", config.train.checkpointing, config.train.loss_chunk)
    if job["engine"] == "ddp":
        return DDP(config, world, model, backend, optimizer)
    if precision == "fp16":  # DeepSpeed wants AVX512-FP16 for it; slow arithmetic is good enough here
        os.environ["DS_ACCELERATOR"] = "cpu"
        import deepspeed

        deepspeed.accelerator.get_accelerator().is_fp16_supported = lambda: True
    return Zero(config, precision, world, model, backend, optimizer)


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.randint(0, 61, (BATCH, CONTEXT + 1), generator=torch.Generator().manual_seed(100 + step))
    return drawn[:, :-1], drawn[:, 1:]


def micro_batches(step: int, world: World):
    inputs, targets = batch(step)
    own = BATCH // world.size
    micro = min(MICRO[step % len(MICRO)], own)
    for start in range(world.rank * own, (world.rank + 1) * own, micro):
        yield inputs[start : start + micro], targets[start : start + micro]


def gradient(engine, world: World, step: int, poison: float = 1.0) -> float:
    """Forward and backward of one step; the mean loss."""
    parts = list(micro_batches(step, world))
    total = torch.zeros(())
    for number, (inputs, targets) in enumerate(parts, 1):
        last = number == len(parts)
        bad = poison if last and world.rank == world.size - 1 else 1.0
        total += engine.micro(inputs, targets, bad / TOKENS, last)
    return float(world.sum(total)) / TOKENS


def train(engine, world: World, steps: range) -> dict:
    seen = {"losses": [], "norms": []}
    for step in steps:
        seen["losses"].append(gradient(engine, world, step))
        seen["norms"].append(engine.norm())
        engine.step(1.0 / (step + 1))
    return seen


def _losses(engine, world, job):
    before = collect(engine, world).weights()
    result = train(engine, world, range(STEPS))
    inputs, targets = batch(99)
    engine.model.eval()
    with torch.no_grad():
        result["evaluation"] = float(engine.model(inputs, targets)) / TOKENS
    engine.model.train()
    after = collect(engine, world).weights()
    result["later"] = train(engine, world, range(STEPS, STEPS + 1))["losses"]
    return {**result, "before": before, "after": after, "parameters": engine.parameters, "scale": engine.loss_scale}


def fresh(engine, world) -> dict:
    """Three steps from a checkpoint without optimizer state, by the engine that wrote it and has gone on since."""
    stored, small = collect(engine, world), engine.small()
    straight = train(engine, world, range(3))
    end = collect(engine, world)
    engine.fill(stored, small)
    back = collect(engine, world)
    again = train(engine, world, range(3))
    return {"start": (stored, small), "straight": straight, "again": again, "kinds": [stored.kinds(), back.kinds()],
            "same": back.same(stored) and end.same(collect(engine, world))}  # fmt: skip


def live(engine, world) -> dict:
    """Whether pieces change within forward, backward, norm and evaluation, read all the time by another thread; whether
    they do in a step; whether they do in a step that is dropped."""
    pieces = engine.pieces()
    now = [piece.tensor.clone() for piece in pieces]
    odd, stop = [], threading.Event()

    def watch():
        while not stop.is_set():
            odd.extend(piece.kind for piece, still in zip(pieces, same(), strict=True) if not still)
            stop.wait(0.001)

    def same():
        return [torch.equal(piece.tensor, was) for piece, was in zip(pieces, now, strict=True)]

    thread = threading.Thread(target=watch)
    thread.start()
    for step in (1, 2):
        gradient(engine, world, step, math.nan if step == 2 else 1.0)
        engine.norm()
        with torch.no_grad():
            engine.model(*batch(99))
        if step == 1:
            stop.set()
            thread.join()
            before = same()
            engine.step(1.0)
            after = same()
            now = [piece.tensor.clone() for piece in pieces]
        else:
            engine.drop()
    later = engine.pieces()
    places = [[(p.kind, p.name, p.begin, p.end, p.tensor.data_ptr()) for p in found] for found in (pieces, later)]
    elements = sum(piece.tensor.numel() for piece in pieces if piece.kind == "weight")
    return {"odd": odd, "before": before, "after": after, "dropped": same(), "places": places,
            "elements": world.gather(elements)}  # fmt: skip


def foreign(engine, world) -> dict:
    """Fills from checkpoints of other models and optimizers: the errors' words, and whether anything changed."""
    stored, small = collect(engine, world), engine.small()
    lacking = {key: value for key, value in stored.tensors.items() if key[1] != "norm.weight"}
    shaped = {**stored.tensors, ("weight", "norm.weight"): torch.zeros(7)}
    muon = {key: value for key, value in stored.tensors.items() if key[0] == "weight"}
    muon["momentum", "norm.weight"] = stored.tensors["weight", "norm.weight"]
    words = []
    for tensors in (lacking, shaped, muon):
        try:
            engine.fill(Gathered(tensors), small)
        except TrainerError as error:
            words.append([error.what, error.next_step, error.exit_code])
    return {"words": words, "same": stored.same(collect(engine, world))}


def _resume(engine, world, job):
    """Two steps, a save, two steps; then the same two again by a new engine, and by the old one, twice: it goes back
    with a gradient that waits for its step, and with one that is only begun."""
    seen = {"fresh": fresh(engine, world)}
    engine.fill(*seen["fresh"].pop("start"))
    train(engine, world, range(2))
    stored, small = collect(engine, world), engine.small()
    straight = train(engine, world, range(2, 4))
    ends = [collect(engine, world)]
    again = build(job, world)
    again.fill(stored, json.loads(json.dumps(small)))
    same = stored.same(collect(again, world)) and again.small() == small
    resumed = [train(again, world, range(2, 4))]
    ends.append(collect(again, world))
    steps = [engine.step_number, again.step_number]
    again.close()
    for begun in (lambda: (gradient(engine, world, 9), engine.norm()), lambda: engine.micro(*batch(9), 1.0, False)):
        begun()
        engine.fill(stored, small)
        same = same and stored.same(collect(engine, world)) and engine.small() == small
        resumed.append(train(engine, world, range(2, 4)))
        ends.append(collect(engine, world))
    seen |= {"live": live(engine, world), "foreign": foreign(engine, world)}
    return {**seen, "straight": straight, "resumed": resumed, "same": same, "kinds": stored.kinds(), "steps": steps,
            "ends": [ends[0].same(end) for end in ends[1:]]}  # fmt: skip


def _hop(engine, world, job):
    """Takes up another launch's checkpoint, goes on, and leaves one of its own."""
    result = {}
    if "source" in job:
        stored, small = kept(Path(job["source"]))
        engine.fill(stored, small)
        result = {"same": stored.same(collect(engine, world)), "small": [small, engine.small()]}
    result |= train(engine, world, range(*job["steps"]))
    if "target" in job:
        keep(collect(engine, world), engine.small(), Path(job["target"]), world)
    return result


def _broken(engine, world, job):
    """A step whose gradient is not finite on one rank, dropped; another one that is stepped all the same."""
    twin = build(job, world)
    straight = train(twin, world, range(3))
    twin.close()
    first = train(engine, world, range(1))
    before = collect(engine, world).weights()
    norms, same = [], []
    for poison in (math.nan, math.inf):
        for end in (lambda: engine.drop(), lambda: engine.step(1.0)):
            gradient(engine, world, 7, poison)
            norms.append(engine.norm())
            end()
            after = collect(engine, world).weights()
            same.append(all(torch.equal(before[name], after[name]) for name in before))
    gradient(engine, world, 7)  # a healthy gradient that the guard does not like
    engine.drop()
    rest = train(engine, world, range(1, 3))
    return {"straight": straight["losses"], "broken": first["losses"] + rest["losses"], "norms": norms, "same": same,
            "scale": engine.loss_scale}  # fmt: skip


def _tried(engine, world, job):
    """Two steps after a micro-batch that was only tried for its size; and without it."""
    twin = build(job, world)
    straight = train(twin, world, range(2))
    twin.close()
    engine.attempt(*batch(50))
    counted = engine.step_number
    return {"straight": straight, "tried": train(engine, world, range(2)), "counted": counted}


def _views(engine, world, job):
    """Bytes of gradients that lie outside DistributedDataParallel's buckets before the last micro-batch, by step."""
    outside = []
    for step in range(3):
        inputs, targets = next(micro_batches(step, world))
        engine.micro(inputs, targets, 1.0, False)
        before = [parameter.grad.data_ptr() for parameter in engine._parameters.values()]
        engine.micro(inputs, targets, 1.0, True)
        after = [parameter.grad.data_ptr() for parameter in engine._parameters.values()]
        outside.append(sum(one != other for one, other in zip(before, after, strict=True)))
        engine.step(1.0)
    return {"outside": outside}


def _contexts(engine, world, job):
    """In which steps the back end's context was entered, by training and by evaluating forwards."""
    train(engine, world, range(2))
    with torch.no_grad():
        engine.model(*batch(0))
    return {"seen": engine.backend.seen}


def _fp8(engine, world, job):
    """How many layers multiplied in FP8 in the last forward."""
    return {**train(engine, world, range(STEPS)), "active": engine.backend.active(engine.model)}


ACTS = {"losses": _losses, "resume": _resume, "hop": _hop, "broken": _broken,
        "tried": _tried, "views": _views, "contexts": _contexts, "fp8": _fp8}  # fmt: skip


def main(result: str, jobs: str) -> None:
    torch.set_num_threads(1)
    world = join(configured({"engine": "ddp"}))
    results = {}
    for job in json.loads(Path(jobs).read_text()):
        engine = build(job, world)
        results[job["name"]] = ACTS[job.get("act", "losses")](engine, world, job)
        engine.close()
    if world.first:
        torch.save(results, result)
    del engine
    world.barrier()
    world.leave()


if __name__ == "__main__":
    main(*[argument for argument in sys.argv[1:] if not argument.startswith("--local")])
