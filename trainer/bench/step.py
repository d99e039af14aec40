"""The trainer's step against a bare PyTorch loop of the same model: what everything around the model costs."""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from trainer.config import Checkpoint as Saves
from trainer.config import Config, Evaluate, Metrics, Model, Train
from trainer.parallel.world import join
from trainer.run.corpus import Corpus
from trainer.run.job import make
from trainer.run.journal import Journal
from trainer.run.loop import Loop
from trainer.run.stop import StopRequest

# big enough that a step takes what a step takes, small enough for a laptop: about 5 million parameters
SHAPE = Model(layers=6, heads=8, width=256, context=256, vocab=256)


def measure(steps: int, batch: int = 4) -> dict[str, Any]:
    """Seconds per step of both (medians), their ratio, in one run: one step of each in turn, the first three left out.

    Both train the same weights in fp32 with AdamW and clipping; the trainer also reads its data ahead, judges the
    loss, splits the time and writes its logs.
    """
    config = Config(
        model=SHAPE,
        train=Train(steps=steps + 3, batch=batch, micro_batch=batch, device="cpu"),
        checkpoint=Saves(every=0),
        evaluate=Evaluate(every=0),
        metrics=Metrics(every=10**9, gpu_seconds=0),
    )
    with tempfile.TemporaryDirectory(prefix="stoker-bench-") as scratch:
        folder = Path(scratch)
        journal = Journal(config, folder, True, 1)
        job = make(config, folder, join(config), Corpus(config, folder), journal)
        bare = Bare(job)
        loop = Loop(job, StopRequest())
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(steps + 3):
            for kind, act in ((ours, loop._step), (theirs, bare.step))[:: 1 if number % 2 else -1]:
                began = time.perf_counter()
                act()
                kind.append(time.perf_counter() - began)
        job.source.close()
        journal.close()
    pairs = sorted(one / other for one, other in zip(ours[3:], theirs[3:], strict=True))
    return {
        "what": "step time against a bare PyTorch loop of the same model",
        "trainer_ms": round(statistics.median(ours[3:]) * 1e3, 3),
        "bare_ms": round(statistics.median(theirs[3:]) * 1e3, 3),
        "ratio": round(statistics.median(pairs), 4),
        "steps": steps,
        "tokens_per_step": batch * SHAPE.context,
        "parameters": job.state.engine.parameters,
        "threads": torch.get_num_threads(),
    }


class Bare:
    """What one would write by hand: batch, forward, backward, clip, AdamW."""

    def __init__(self, job: Any) -> None:
        model = job.state.engine.model
        self.model = copy.deepcopy(getattr(model, "module", model))
        optim = job.config.optim
        groups = [
            {"params": [p for p in self.model.parameters() if p.dim() >= 2], "weight_decay": optim.weight_decay},
            {"params": [p for p in self.model.parameters() if p.dim() < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=optim.lr, betas=(optim.beta1, optim.beta2), fused=True)
        self.clip = optim.clip
        self.shape = (job.config.train.batch, job.config.model.context)
        self.tokens = torch.randint(0, job.config.model.vocab, (1 << 16,))

    def step(self) -> float:
        """One step; the loss per token."""
        batch, context = self.shape
        starts = torch.randint(0, len(self.tokens) - context - 1, (batch,))
        rows = torch.stack([self.tokens[start : start + context + 1] for start in starts])
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.model(rows[:, :-1].contiguous(), rows[:, 1:].contiguous()) / (batch * context)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return float(loss.detach())
