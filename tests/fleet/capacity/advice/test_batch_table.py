"""The batch-size table: what it says fits, fits; it never grows with the length or shrinks with the card."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from fleet.capacity.advice.batches import MOST_TOKENS, batches
from fleet.capacity.memory.memory import memory
from fleet.capacity.models import model
from fleet.capacity.setup import Setup
from fleet.capacity.workload import Workload
from profiles.gpus import gpu

WORK = Workload(model("tiny-llama-1.1b"), 2048, 256, checkpointing="full", precision="bf16")
CARDS = [gpu(name) for name in ("rtx4090", "a100-40-sxm", "a100-80-sxm", "h200-sxm")]
LENGTHS = (128, 512, 2048, 8192)
TABLE = batches(WORK, CARDS, LENGTHS)


def cells(name: str) -> list[int]:
    return [cell.micro_batch for cell in TABLE if cell.gpu == name]


def test_longer_sequences_fit_fewer_at_once():
    for card in CARDS:
        assert cells(card.key) == sorted(cells(card.key), reverse=True)


def test_larger_cards_hold_no_less():
    for small, large in pairwise(CARDS):
        assert all(one <= other for one, other in zip(cells(small.key), cells(large.key), strict=True))


def test_each_cell_fits_and_one_more_does_not_or_would_not_matter():
    for cell in TABLE:
        if not cell.micro_batch:
            continue
        setup = Setup(
            shape=replace(WORK.shape, context=max(WORK.shape.context, cell.length)),
            gpu=gpu(cell.gpu),
            gpus=1,
            length=cell.length,
            micro_batch=cell.micro_batch,
            precision="bf16",
            checkpointing="full",
            link="nvlink" if gpu(cell.gpu).nvlink_gbs else "pcie",
        )
        assert memory(setup).verdict == "fits"
        larger = replace(setup, micro_batch=cell.micro_batch + 1)
        assert memory(larger).verdict != "fits" or larger.micro_batch * cell.length > MOST_TOKENS


def test_a_precision_the_card_lacks_leaves_the_cell_empty_with_the_reason():
    (cell,) = batches(WORK.with_(precision="fp8-current"), [gpu("a100-80-sxm")], [2048])
    assert cell.micro_batch == 0 and "FP8" in cell.why
