"""Reading DeepSpeed's folders: every number in its place, none of their code run, one clear line for what is wrong."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.errors import TrainerError

GROUPS = st.lists(
    st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3), min_size=1, max_size=4), min_size=1, max_size=3
)


@pytest.fixture
def config(torch):
    from trainer.config import Config, Model, Train

    return Config(model=Model(layers=1, heads=2, width=6, context=8, vocab=128), train=Train(device="cpu", batch=4))


@pytest.fixture
def groups(config):
    """The model's parameters, vectors first, under the names a wrapped and compiled model gives them."""
    from trainer.after.deepspeed_folder import expected

    shapes = expected(config.model)
    wrapped = {f"module.{name.replace('blocks.0.', 'blocks.0._orig_mod.')}": shape for name, shape in shapes.items()}
    return [{name: shape for name, shape in wrapped.items() if (len(shape) > 1) == matrix} for matrix in (False, True)]


@pytest.fixture
def made(tmp_path, groups):
    """A folder of two ranks, and what is in it."""
    from tests.trainer.after import deepspeed_made

    def make(**more):
        return tmp_path / "theirs", deepspeed_made.write(tmp_path / "theirs", more.pop("groups", groups), **more)

    return make


@pytest.fixture
def bring(config, tmp_path):
    from trainer.after import deepspeed_import

    def act(folder: Path, tag=None, run="run", **place):
        return deepspeed_import.bring(folder, tag, config, tmp_path / run, deepspeed_import.Place(**place))

    return act


def refused(act) -> TrainerError:
    """The error of a call, which must be one line with a next step."""
    with pytest.raises(TrainerError) as caught:
        act()
    assert "\n" not in caught.value.what and caught.value.next_step
    return caught.value


@settings(max_examples=25, deadline=None)
@given(GROUPS, st.integers(1, 5), st.sampled_from([1, 3]))
def test_every_number_of_any_groups_on_any_ranks_is_found_where_it_belongs(
    tmp_path_factory, torch, groups, ranks, stage
):
    from tests.trainer.after import deepspeed_made
    from trainer.after.deepspeed_folder import open_folder

    named = [{f"p{one}.{two}": tuple(shape) for two, shape in enumerate(group)} for one, group in enumerate(groups)]
    folder = tmp_path_factory.mktemp("theirs")
    whole = deepspeed_made.write(folder, named, ranks, stage)
    shapes = {name: shape for group in named for name, shape in group.items()}
    found = {kind: {name: torch.full(shape, torch.nan) for name, shape in shapes.items()} for kind in whole}
    for pieces in open_folder(folder).pieces(shapes):
        for piece in pieces:
            if piece.kind == "step":
                assert float(piece.tensor) == 5
            else:
                found[piece.kind][piece.name].view(-1)[piece.begin : piece.end] = piece.tensor
    for kind, tensors in whole.items():
        assert all(torch.equal(found[kind][name], tensor) for name, tensor in tensors.items())


def test_it_becomes_one_whole_checkpoint_that_says_where_it_comes_from(made, bring, tmp_path):
    from trainer.checkpoint import folder, manifest, verify

    origin, whole = made()
    done = bring(origin)
    checkpoint = folder.pointed(tmp_path / "run/checkpoints", folder.LATEST)
    content = manifest.read(checkpoint)
    assert checkpoint.name == done["checkpoint"] == "step-00000005"
    assert verify.fault(checkpoint) is None
    assert content["lineage"]["parent"] is None
    told = content["lineage"]["imported"]
    assert (told["from"], told["deepspeed"], told["tag"]) == ("theirs", "0.19.8", "global_step5")
    assert (content["step"], content["samples"], content["tokens"], content["random"]) == (5, 20, 160, 0)
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == ["latest", checkpoint.name]
    assert not [name for name in content["files"] if name.startswith("random")]
    assert {key.removeprefix("exp_avg/") for key in content["tensors"] if key.startswith("exp_avg/")} == {
        name.removeprefix("module.").replace("_orig_mod.", "") for name in whole["weight"]
    }


def test_step_and_samples_come_from_the_script_and_flags_win(made, bring, torch):
    origin, _ = made(step=torch.tensor(7), samples=99)
    done = bring(origin)
    assert (done["step"], done["samples"]) == (7, 99)
    done = bring(origin, run="other", step=8, samples=3)
    assert (done["checkpoint"], done["samples"]) == ("step-00000008", 3)


def test_a_run_with_checkpoints_is_left_as_it_is(made, bring, tmp_path):
    origin, _ = made()
    bring(origin)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/checkpoints").rglob("*")}
    error = refused(lambda: bring(origin, step=9))
    assert error.exit_code == 4 and "has checkpoints already" in error.what
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run/checkpoints").rglob("*")} == before


def test_a_rank_that_is_missing_is_named_and_leaves_no_checkpoint(made, bring, tmp_path):
    origin, _ = made(ranks=3)
    (origin / "global_step5/zero_pp_rank_2_mp_rank_00_optim_states.pt").unlink()
    assert "optim_states file of rank 2" in refused(lambda: bring(origin)).what
    (origin / "global_step5/zero_pp_rank_0_mp_rank_00_optim_states.pt").unlink()
    assert "optim_states file of rank 0" in refused(lambda: bring(origin)).what
    assert not list(tmp_path.glob("run/checkpoints/*"))


def test_no_optimizer_file_at_all_is_no_stage_0(made, bring):
    origin, _ = made(ranks=1)
    (origin / "global_step5/zero_pp_rank_0_mp_rank_00_optim_states.pt").unlink()
    assert "optim_states file of rank 0" in refused(lambda: bring(origin)).what


@pytest.mark.parametrize("stage", [1, 3])
def test_a_file_of_more_ranks_than_there_are_is_no_save_of_this_one(made, bring, stage):
    origin, _ = made(ranks=2, stage=stage)
    place = origin / "global_step5"
    (place / "zero_pp_rank_2_mp_rank_00_optim_states.pt").write_bytes(b"")
    assert "two saves in one folder" in refused(lambda: bring(origin)).what


def test_latest_that_points_to_nothing_names_what_is_there(made, bring):
    origin, _ = made()
    (origin / "latest").write_text("global_step6")
    error = refused(lambda: bring(origin))
    assert "'global_step6', which is not there" in error.what and "global_step5" in error.next_step
    (origin / "latest").unlink()
    assert "global_step5" in refused(lambda: bring(origin)).next_step
    assert "global_step5" in refused(lambda: bring(origin, tag="global_step4")).next_step
    assert bring(origin, tag="global_step5")["tag"] == "global_step5"
    assert bring(origin / "global_step5", run="other")["tag"] == "global_step5"
    assert "no such folder" in refused(lambda: bring(origin / "nowhere", run="third")).what


def test_a_file_cut_off_and_a_flipped_byte_are_found(made, bring, tmp_path):
    origin, whole = made()
    file = origin / "global_step5/zero_pp_rank_1_mp_rank_00_optim_states.pt"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    error = refused(lambda: bring(origin))
    assert file.name in error.what and "cut off" in error.what and error.exit_code == 3
    last = whole["weight"][
        "module.head.weight" if "module.head.weight" in whole["weight"] else "module.positions.weight"
    ]
    place = data.find(last.flatten()[-4:].numpy().tobytes())
    assert place > 0
    file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    assert "CRC-32" in refused(lambda: bring(origin)).what
    assert not list((tmp_path / "run/checkpoints").iterdir())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"mp_world_size": 2}, "cut over 2 ranks"),
        ({"checkpoint_parallel_dimensions": {"pp_degree": 4, "tp_degree": 1}}, "cut over 4 ranks"),
        ({"frozen_param_shapes": {"norm.weight": (6,)}}, "not trained, norm.weight first"),
        ({"module": None}, "holds no model"),
        ({"param_shapes": "none"}, "no param_shapes"),
        ({"global_steps": None}, "does not say its step"),
    ],
)
def test_what_is_not_understood_is_refused_in_one_line(made, bring, more, words):
    origin, _ = made(**more)
    assert words in refused(lambda: bring(origin)).what


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zero_pp_rank_0_mp_rank_01_optim_states.pt", "cut over several ranks"),
        ("layer_03-model_00-model_states.pt", "pipeline or of experts"),
        ("layer_0_expert_3_mp_rank_00_model_states.pt", "pipeline or of experts"),
        ("bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt", "two saves in one folder"),
    ],
)
def test_files_of_other_parallelism_are_told_by_their_names(made, bring, name, words):
    origin, _ = made()
    (origin / "global_step5" / name).write_bytes(b"")
    assert words in refused(lambda: bring(origin)).what


def test_another_models_parameters_are_named_with_the_nearest(made, bring, groups):
    other = [{name.replace("norm.weight", "norm.wait"): shape for name, shape in group.items()} for group in groups]
    origin, _ = made(groups=other)
    error = refused(lambda: bring(origin))
    assert "unknown parameter norm.wait; nearest of this model is norm.weight" in error.what


def test_a_missing_parameter_and_another_shape_are_named(made, bring, groups, config):
    origin, _ = made(groups=[{name: shape for name, shape in groups[0].items() if "norm.bias" not in name}, groups[1]])
    assert "has no parameter norm.bias" in refused(lambda: bring(origin)).what
    config.model.vocab = 130
    tag = {"tag": "second"}
    made(**tag)
    assert "tokens.weight has the shape (128, 6) there and (130, 6)" in refused(lambda: bring(origin)).what


def test_files_of_another_form_are_refused_in_one_line(made, bring, torch):
    origin, _ = made()
    file = origin / "global_step5/zero_pp_rank_0_mp_rank_00_optim_states.pt"
    content = torch.load(file, weights_only=False)
    content["optimizer_state_dict"]["base_optimizer_state"] = {"state": {}}
    torch.save(content, file)
    assert "not as DeepSpeed writes them" in refused(lambda: bring(origin)).what
    torch.save([1], file)
    assert "holds no optimizer state" in refused(lambda: bring(origin)).what


def test_before_the_first_step_there_are_weights_alone(made, bring, torch, tmp_path):
    from trainer.checkpoint.tensors import Checkpoint

    origin, _ = made(global_steps=0)
    for file in origin.glob("*/*optim_states.pt"):
        content = torch.load(file, weights_only=False)
        content["optimizer_state_dict"]["base_optimizer_state"]["state"] = {}
        torch.save(content, file)
    assert Checkpoint(tmp_path / "run/checkpoints" / bring(origin)["checkpoint"]).kinds() == {"weight"}


def test_the_state_of_another_optimizer_is_refused(made, bring, torch):
    origin, _ = made()
    file = origin / "global_step5/zero_pp_rank_0_mp_rank_00_optim_states.pt"
    content = torch.load(file, weights_only=False)
    states = content["optimizer_state_dict"]["base_optimizer_state"]["state"]
    states[0]["momentum_buffer"] = states[0].pop("exp_avg_sq")
    torch.save(content, file)
    assert "keeps exp_avg, momentum_buffer" in refused(lambda: bring(origin)).what


def test_the_command_says_what_it_took_over(made, config, tmp_path, capsys):
    from trainer.commands import importing

    origin, _ = made()
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    parser = argparse.ArgumentParser()
    importing.register(parser.add_subparsers())
    line = ["import", str(origin), "--run", str(tmp_path / "new"), "--config", str(tmp_path / "config.json"), "--json"]
    options = parser.parse_args(line)
    assert options.act(options) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["checkpoint"], told["ranks"], told["stage"]) == ("step-00000005", 2, 1)
    options = parser.parse_args([*line, "--step", "-1"])
    assert refused(lambda: options.act(options)).exit_code == 2
    options = parser.parse_args([*line, "--set", "optim.name=muon"])
    assert "optim.name is muon" in refused(lambda: options.act(options)).what
