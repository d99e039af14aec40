"""How many windows a rank takes at once: as told, as measured in an earlier attempt, or found by trying."""

from __future__ import annotations

import torch

from trainer.config.amounts import divisors
from trainer.config.check import batches, micro_batches
from trainer.model.compiled import compile_blocks
from trainer.optim import fit
from trainer.run.job import Job

STATE_BYTES = 8  # AdamW's two moments per parameter in fp32: not yet allocated when the first sizes are tried


def sizes(job: Job) -> dict[int, int]:
    """Windows per micro-batch by sequence length of the curriculum's stages. Raises TrainerError when none fits."""
    config, world = job.config, job.world
    batches(config, world.size)
    found = {}
    for _, length, wish in job.plan.stages():
        size = wish or config.train.micro_batch or _tried(job, length)
        micro_batches(config, world.size, size)
        found[length] = size
    return found


def count(job: Job, micro: int) -> int:
    """Micro-batches of a rank in one step."""
    return micro_batches(job.config, job.world.size, micro)


def compile_model(job: Job) -> None:
    """torch.compile, block by block; after the sizes are found, since each size would be compiled."""
    model = job.state.engine.model
    compile_blocks(getattr(model, "module", model), job.config.train.compile_mode)


def _tried(job: Job, length: int) -> int:
    """The largest that fits; remembered in the state, so that a resumed run adds in the same order. What may change on
    a resume and takes other memory is in the name."""
    train, offload = job.config.train, job.config.parallel.offload
    kept = f"checkpointing {train.checkpointing}, loss_chunk {train.loss_chunk}, offload {offload}"
    engine = f"{job.state.engine.kind} {job.state.engine.stage}"
    name = f"{length}, batch {train.batch} on {job.world.size} x {_device_name(job)}, {engine}, {kept}"
    remembered = job.state.progress.micro
    if name not in remembered:
        remembered[name] = _measured(job, length)
    return remembered[name]


def _measured(job: Job, length: int) -> int:
    config, world = job.config, job.world
    own = batches(config, world.size)
    if world.device.type != "cuda" or job.state.engine.kind == "deepspeed":
        size = fit.without_memory_search(own, config.model.context)
        if world.device.type == "cuda":
            # a try that runs out of memory in one rank would leave the others in ZeRO's collectives
            job.journal.say(f"micro-batch {size} windows: not searched under DeepSpeed; train.micro_batch sets it")
        return size
    cpu, cuda = torch.get_rng_state(), torch.cuda.get_rng_state()
    try:
        found = fit.micro_batch(lambda size: _one(job, size, length), divisors(own), world)
    finally:
        torch.set_rng_state(cpu)
        torch.cuda.set_rng_state(cuda)
    tried = ", ".join(
        f"{size}: {answer / 1e9:.1f} GB" if isinstance(answer, int) else f"{size}: {answer}"
        for size, answer in found.tried
    )
    job.journal.say(f"micro-batch {found.micro_batch} windows at {length} tokens (tried {tried})")
    return int(found.micro_batch)


def _one(job: Job, size: int, length: int) -> int:
    """Bytes at the peak of a forward and backward of this size, the optimizer's coming state included."""
    engine, model, device = job.state.engine, job.config.model, job.world.device
    torch.cuda.reset_peak_memory_stats(device)
    shape = (size * model.context // length, length)
    tokens = torch.randint(0, model.vocab, shape, device=device)
    engine.attempt(tokens, tokens)
    coming = 0 if job.state.progress.step else STATE_BYTES * engine.parameters
    return int(torch.cuda.max_memory_reserved(device)) + coming


def _device_name(job: Job) -> str:
    return torch.cuda.get_device_name(job.world.device) if job.world.device.type == "cuda" else "cpu"
