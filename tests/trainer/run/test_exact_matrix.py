"""2N steps, and N + kill -9 + N: the same bits. The short form of bench/rows/resume_matrix.py, resume_damage.py,
resume_disk.py and resume_beside.py."""

from __future__ import annotations

import pytest

from bench.rows import resume_beside, resume_damage, resume_disk
from bench.rows.resume_matrix import LAYOUTS, PLACES, PRECISIONS, Case, Proof
from bench.rows.resume_runs import BATCH, CONTEXT, EPOCH, text

QUICK = (1, 3, 7)  # borders of an epoch, of a curriculum, and of an epoch of fine-tuning; the rest is slow
NUMBERS = [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in range(len(PLACES))]
pytestmark = pytest.mark.usefixtures("torch")


@pytest.fixture(scope="module")
def proof(warm, tmp_path_factory):
    return Proof(warm, tmp_path_factory.mktemp("matrix"))


@pytest.mark.parametrize("number", NUMBERS, ids=[place.name for place in PLACES])
def test_a_kill_changes_no_bit_wherever_in_the_data_it_comes(proof, number):
    assert proof.check(Case(PLACES[number], LAYOUTS[0], PRECISIONS[number % 2])) == []


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS[1:3], ids=lambda layout: layout.name)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_kill_changes_no_bit_with_several_ranks(proof, layout, precision):
    assert proof.check(Case(PLACES[1], layout, precision)) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3), ids=[layout.name for layout in LAYOUTS[3:]])
def test_a_kill_changes_no_bit_with_any_zero_stage(warm_zero, tmp_path, number):
    assert Proof(warm_zero, tmp_path).check(Case(PLACES[number], LAYOUTS[3 + number], PRECISIONS[number % 2])) == []


def test_the_border_of_an_epoch_is_exactly_the_end_of_a_step(tmp_path, torch):
    from pathlib import Path

    from trainer.config import Data
    from trainer.data.tokens import open_tokens

    tokens = open_tokens(Data(path=str(text(tmp_path / "text"))), CONTEXT, 256, Path(tmp_path))
    assert tokens.train.windows == EPOCH * BATCH and tokens.val is not None


def test_damage_is_found_in_every_file_of_a_checkpoint(warm, tmp_path):
    proof = resume_damage.Damage(warm, tmp_path / "damage", seed=1)
    found, made = proof.seen(3, all_of_manifest=False)
    assert found == made == 3 * len(proof.files) > 0


@pytest.mark.slow
@pytest.mark.parametrize("harm", resume_damage.HARMS, ids=lambda harm: harm.__name__)
def test_a_damaged_newest_checkpoint_is_passed_over_and_the_end_is_the_same(warm, tmp_path, harm):
    proof = resume_damage.Damage(warm, tmp_path / "damage", seed=2)
    assert [text for name in proof.files[::2] for text in proof.check(name, harm)] == []


@pytest.mark.slow
def test_steps_go_on_beside_a_slow_save_that_holds_the_step_it_began_at(warm, tmp_path):
    row = resume_beside.beside(warm, tmp_path / "beside")
    assert row.met, row.notes


def test_going_back_sets_newer_checkpoints_aside_and_weights_alone_are_passed_over(warm, tmp_path):
    row = resume_beside.back(warm, tmp_path / "back")
    assert row.met, row.notes


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_no_training_and_no_checkpoint(warm, tmp_path):
    rows = resume_disk.rows(warm, tmp_path)
    if all(row.met is None for row in rows):
        pytest.skip(rows[0].notes[0])
    assert all(row.met for row in rows), [row.notes for row in rows]
