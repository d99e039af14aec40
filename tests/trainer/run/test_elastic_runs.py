"""One run on other ranks and in other ZeRO stages reads the same tokens in the same order, with the same losses."""

from __future__ import annotations

import pytest

from bench.rows.resume_elastic import CHANGED, CLOSE, STAGES, WORLDS, Changes, Elastic

pytestmark = pytest.mark.usefixtures("torch")


@pytest.mark.slow
def test_ranks_may_change_from_4_to_2_to_1_to_4(warm, tmp_path):
    same, apart = Elastic(warm, tmp_path / "elastic").check("worlds", WORLDS)
    assert same and apart <= CLOSE


@pytest.mark.slow
def test_the_zero_stage_may_change_from_3_to_1_to_none_to_3(warm_zero, tmp_path):
    same, apart = Elastic(warm_zero, tmp_path / "elastic").check("stages", STAGES)
    assert same and apart <= CLOSE


def test_what_decides_the_losses_changes_on_purpose_and_never_by_accident(warm, tmp_path):
    changes = Changes(warm, tmp_path / "changes")
    wrong = [text for one in CHANGED for text in changes.check(*one)]
    wrong += changes.check("data", "data.path", changes.other, "data.path was another text")
    assert wrong == []
