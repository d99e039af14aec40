"""Run folders with known random weights: what `train` leaves behind, in milliseconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def model_of(torch):
    """A model of a shape whose every parameter is random, vectors too, so that no mapping can hide behind zeros."""
    from trainer.after.source import build

    def make(shape, seed=7):
        torch.manual_seed(seed)
        model = build(shape)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
        return model.eval()

    return make


@pytest.fixture
def make_run(tmp_path, model_of):
    """(run folder, model) of a shape: config.json, tokenizer/, one checkpoint a step, and the pointers."""
    from tests.trainer.checkpoint import made
    from trainer.config import Config
    from trainer.data.tokenizers.bytewise import Bytes
    from trainer.parallel import weights

    def make(shape, tokenizer=None, steps=(5,), name="run") -> tuple[Path, object]:
        run, config = tmp_path / name, Config(model=shape)
        model = None
        for step in steps:
            model = model_of(shape, seed=step)
            values = {key: value.detach().clone() for key, value in weights.named(model).items()}
            facts = {"tokens": step * 100, "engine": {"kind": "ddp", "zero": 0, "world": 1}}
            made.publish_tensors(run / "checkpoints", step, values, facts)
        (run / "config.json").write_text(json.dumps(config.to_json()))
        (tokenizer or Bytes()).save(run / "tokenizer")
        return run, model

    return make


@pytest.fixture
def shape():
    """A small shape of a family."""
    from trainer.config import Model

    def make(family="gpt2", **more):
        return Model(**{"family": family, "layers": 2, "heads": 4, "width": 32, "context": 32, "vocab": 256, **more})

    return make


@pytest.fixture
def gpt2_like():
    """A byte-level BPE with specials, of merges over ASCII words: made here, so that no download is needed."""
    from trainer.data.tokenizers.byte_pairs import BytePairs

    ranks = {bytes([value]): value for value in range(256)}
    for token in (b"th", b"he", b"the", b" t", b" the", b"an", b"and", b" a", b" and", b"in", b"ing", b"  ", b"er"):
        ranks[token] = len(ranks)
    specials = {"<|endoftext|>": len(ranks)}
    pattern = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
    return BytePairs("gpt2", "tiny", pattern, ranks, specials, specials["<|endoftext|>"])
