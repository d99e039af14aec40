"""What is refused, and told, before a run is taken up."""

from __future__ import annotations

import pytest

from trainer.checkpoint import folder, thin
from trainer.errors import REFUSED, TrainerError
from trainer.run.resumption import Resume
from trainer.run.stop import StopRequest

pytestmark = pytest.mark.usefixtures("torch")


def train(config, run, **wish):
    from trainer.run.loop import train

    return train(config, run, StopRequest(), wish=Resume(**wish))


@pytest.fixture
def trained(small, tmp_path):
    small.train.steps, small.checkpoint.every = 4, 2
    assert train(small, tmp_path / "run") == 0
    return tmp_path / "run"


def test_a_run_of_which_only_weights_are_here_is_not_begun_anew(small, trained):
    for path in folder.found(trained / "checkpoints"):
        thin.thin(path)
    before = sorted(trained.rglob("*.safetensors"))
    with pytest.raises(TrainerError) as refused:
        train(small, trained)
    assert refused.value.exit_code == REFUSED and "weights" in refused.value.what and "pull" in refused.value.next_step
    assert sorted(trained.rglob("*.safetensors")) == before


def test_what_cannot_be_changed_on_purpose_is_not_offered(small, trained):
    small.model.width *= 2
    with pytest.raises(TrainerError) as refused:
        train(small, trained)
    assert "model.width" in refused.value.what and "--allow-change" not in refused.value.next_step


def test_what_can_be_changed_is_offered_by_its_flag(small, trained):
    small.optim.lr *= 2
    with pytest.raises(TrainerError) as refused:
        train(small, trained)
    assert refused.value.next_step.endswith("--allow-change optim")


def test_a_step_that_only_the_store_may_have_is_told_with_the_way_to_fetch_it(small, trained):
    small.checkpoint.remote = "file:///somewhere"
    with pytest.raises(TrainerError) as refused:
        train(small, trained, step=3)
    assert "steps that are there: 2, 4" in refused.value.next_step
    assert "pull file:///somewhere" in refused.value.next_step and "--step 3" in refused.value.next_step
