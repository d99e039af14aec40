"""SIGKILL at system calls of a save and at random moments: the same command goes on, and the end is bit-equal.

The short form of bench/rows/resume_everywhere.py and resume_lottery.py, which kill at every call and hundreds of times.
"""

from __future__ import annotations

import random

import pytest

from bench.rows.resume_everywhere import EVERY, Everywhere, FirstSteps
from bench.rows.resume_lottery import Baked, Lottery, Plain
from bench.rows.resume_runs import Layout, steps_logged

pytestmark = pytest.mark.usefixtures("torch")


def test_a_kill_at_calls_all_over_a_save_costs_at_most_that_save(warm, tmp_path):
    proof = Everywhere(warm, tmp_path)
    proof.save(stride=16)
    assert proof.killed.kills >= 5 and len(proof.killed.points) >= 2
    assert proof.finish() == []
    assert len(steps_logged(proof.run)) > len(steps_logged(proof.whole)), "steps were really lost and done again"


def test_a_kill_between_a_checkpoint_and_its_pointers_leaves_no_stale_pointer(warm, tmp_path):
    proof = FirstSteps(warm, tmp_path)
    calls = range(243, 253, 3)  # rename, flush, best, latest of the second save; a few calls more or less do no harm
    found = [proof.check(call) for call in calls]
    assert all(killed for killed, _ in found) and [text for _, differing in found for text in differing] == []


def test_a_kill_in_the_first_moments_of_a_run_leaves_nothing_half_done(warm, tmp_path):
    proof = FirstSteps(warm, tmp_path)
    seed = random.SystemRandom().randrange(10**6)
    calls = [13, 14, 15, *random.Random(seed).sample(range(1, 60), 2)]  # 13 to 15: the tokenizer
    assert [text for call in calls for text in proof.check(call)[1]] == [], f"seed {seed}"


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_with_two_ranks_either_may_be_killed_anywhere_in_its_part_of_a_save(warm, tmp_path, rank):
    proof = Everywhere(warm, tmp_path, Layout(2))
    proof.save(rank, stride=9)
    assert proof.killed.kills >= 3
    assert proof.finish() == []


@pytest.mark.slow
def test_random_kills_of_launcher_rank_sync_process_and_transfer_change_nothing(warm, tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    kind = Plain(warm, tmp_path / "lottery")
    lottery = Lottery(kind, seed, 0.8)
    lottery.play(14)
    assert lottery.result(kind.reference) == [], f"seed {seed}"
    assert lottery.most_lost <= 10 and lottery.killed.total() == 14


@pytest.mark.slow
def test_random_kills_under_the_baked_run_script_change_nothing(warm, tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    kind = Baked(warm, tmp_path / "lottery")
    lottery = Lottery(kind, seed, 6.0)
    lottery.play(4)
    assert lottery.result(kind.reference) == [], f"seed {seed}"


def test_the_counter_of_calls_sees_every_kind_of_call_that_a_save_makes(warm, tmp_path):
    """Else a proof that kills at every call could pass by killing nowhere."""
    plan = {"kill": {"rank": 0, "call": 0, "half": False, "scope": "save", "told": str(tmp_path / "told")}}
    proof = Everywhere(warm, tmp_path)
    warm.run(proof.command(proof.run, EVERY), plan)
    over = int((tmp_path / "told").read_text().split(":")[1].strip(" }\n"))
    # 2 tensor files of 16 parameters, generators, note, manifest, 2 pointers: a write, an open, an fsync each at least
    assert over > 16 + 2 * 16 + 5 * 3
