"""What engines refuse, before a model is made; names; and what one process does without a group."""

from __future__ import annotations

import sys

import pytest

from trainer import parallel
from trainer.config import Config, Model, Optim, Parallel, Train
from trainer.errors import TrainerError

torch = pytest.importorskip("torch")

from tests.trainer.parallel.gathered import joined  # noqa: E402


def config(zero: int, offload: str = "none", optim: str = "adamw", engine: str = "auto") -> Config:
    return Config(
        model=Model(width=32, context=16, vocab=64),
        optim=Optim(name=optim),
        train=Train(device="cpu"),
        parallel=Parallel(engine=engine, zero=zero, offload=offload),
    )


def test_engine_auto_is_ddp_for_stage_0_and_deepspeed_above():
    assert [parallel.kind(config(zero)) for zero in range(4)] == ["ddp", "deepspeed", "deepspeed", "deepspeed"]
    assert parallel.kind(config(0, engine="deepspeed")) == "deepspeed"


@pytest.mark.parametrize(
    ("asked", "precision", "words"),
    [
        (config(1, optim="muon"), "bf16", "Muon needs whole matrices, ZeRO stage 1"),
        (config(3, optim="muon"), "bf16", "Muon needs whole matrices, ZeRO stage 3"),
        (config(0), "fp16", "fp16 with DeepSpeed needs ZeRO stage 1"),
        (config(0, "optimizer"), "bf16", "needs ZeRO"),
        (config(2, "parameters"), "bf16", "needs ZeRO stage 3"),
        (config(1, "both"), "bf16", "needs ZeRO stage 3"),
    ],
)
def test_what_cannot_work_is_refused_with_a_way_out(asked, precision, words):
    from trainer.parallel import zero_settings

    with pytest.raises(TrainerError, match=words) as caught:
        zero_settings.check(asked, precision)
    assert "parallel." in caught.value.next_step


def test_a_missing_deepspeed_names_its_package(monkeypatch):
    from trainer.parallel import world, zero_settings

    monkeypatch.setitem(sys.modules, "deepspeed", None)
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    monkeypatch.setenv("LOCAL_SIZE", "1")
    for name in world.GIVEN:
        monkeypatch.setenv(name, "0")
    alone = world.World(0, 1, 0, 1, torch.device("cpu"), "")
    with pytest.raises(TrainerError, match="cannot be imported") as caught:
        zero_settings.load(alone, "bf16")
    assert "pip install deepspeed" in caught.value.next_step


def test_the_settings_keep_fp32_masters_and_sums_in_sixteen_bits():
    from trainer.parallel import world, zero_settings

    alone = world.World(0, 1, 0, 1, torch.device("cpu"), "")
    told = zero_settings.settings(config(3, "both"), "fp8-current", alone)
    assert told["bf16"] == {"enabled": True}
    assert told["data_types"] == {"grad_accum_dtype": "fp32"}
    assert told["zero_optimization"]["offload_param"] == {"device": "cpu", "pin_memory": False}
    assert told["zero_optimization"]["reduce_bucket_size"] == 50 * 2**20 // 2
    at_0 = zero_settings.settings(config(0), "bf16", alone)
    assert "bf16" not in at_0 and "data_types" not in at_0  # fp32 parameters under autocast, as DDP


def test_names_are_the_same_wrapped_and_compiled():
    from trainer.parallel import weights

    for name in ("module.blocks.0._orig_mod.norm1.weight", "inner.blocks.0.norm1.weight", "blocks.0.norm1.weight"):
        assert weights.canonical(name) == "blocks.0.norm1.weight"


def test_a_parameter_that_the_ranks_do_not_divide_is_padded_in_the_last_piece():
    from trainer.parallel import zero_state

    value = torch.arange(10.0).view(2, 5)
    pieces = [zero_state.piece(value, 4, rank).tolist() for rank in range(4)]
    assert pieces == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 0], [0, 0, 0, 0]]


def built(zero: int = 0):
    from trainer.model.gpt import GPT
    from trainer.parallel import world
    from trainer.precision import backend, policy
    from trainer.precision.machine import look

    asked = config(zero)
    asked.precision.name = "fp32"
    resolved = policy.resolve(asked.precision, look("cpu"), asked.model, "ddp")
    alone = world.World(0, 1, 0, 1, torch.device("cpu"), "")

    def make():
        torch.manual_seed(3)
        return GPT(asked.model, backend.build(resolved))

    return parallel.build(asked, resolved, alone, make)


def stepped(engine, seed: int = 0) -> float:
    tokens = torch.randint(0, 64, (4, 17), generator=torch.Generator().manual_seed(seed))
    loss = engine.micro(tokens[:, :-1], tokens[:, 1:], 1 / 64, True)
    engine.step(1.0)
    return float(loss)


def test_one_process_needs_no_group_and_resumes_bit_for_bit():
    engine, other = built(), built()
    stepped(engine)
    stored, small = joined(engine.pieces()), engine.small()
    straight = [stepped(engine, seed) for seed in (1, 2)]
    other.fill(stored, small)
    assert [stepped(other, seed) for seed in (1, 2)] == straight
    assert joined(other.pieces()).same(joined(engine.pieces()))
    assert other.step_number == 3
    assert not torch.distributed.is_initialized()
    engine.close()


def test_pieces_go_through_the_files_of_a_checkpoint(tmp_path):
    from trainer.checkpoint import part, publish
    from trainer.checkpoint.tensors import Checkpoint

    engine, other = built(), built()
    stepped(engine)
    written = part.write(tmp_path / ".staging", 0, engine.pieces(), b"{}")
    published = publish.publish(tmp_path / ".staging", 1, written, {}, [])
    other.fill(Checkpoint(published.folder), engine.small())
    assert joined(other.pieces()).same(joined(engine.pieces()))
    assert [stepped(other, seed) for seed in (1, 2)] == [stepped(engine, seed) for seed in (1, 2)]


def test_pieces_hold_fp32_parameters_under_canonical_names_and_before_the_first_step_nothing_else():
    engine = built()
    stored = joined(engine.pieces())
    assert stored.names("weight") == {name: tuple(value.shape) for name, value in engine.model.named_parameters()}
    assert stored.kinds() == {"weight"}
    assert {value.dtype for value in stored.tensors.values()} == {torch.float32}
    assert engine.small() == {"step": 0, "scaler": None}
    stepped(engine)
    assert joined(engine.pieces()).kinds() == {"weight", "exp_avg", "exp_avg_sq", "step"}


def test_a_resume_takes_rates_and_decay_from_the_configuration():
    engine = built()
    stepped(engine)
    for group in engine._optimizer.param_groups:
        group["weight_decay"], group["base_lr"] = 0.5, 9.0
    other = built()
    before = [(group["weight_decay"], group["base_lr"]) for group in other._optimizer.param_groups]
    other.fill(joined(engine.pieces()), engine.small())
    assert [(group["weight_decay"], group["base_lr"]) for group in other._optimizer.param_groups] == before


def test_memory_that_ends_within_a_try_leaves_no_gradient(monkeypatch):
    engine, other = built(), built()
    tokens = torch.randint(0, 64, (4, 16))

    def ends(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    hook = engine.model.blocks[0].norm1.weight.register_hook(ends)  # in the middle of the backward pass
    with pytest.raises(torch.OutOfMemoryError):
        engine.attempt(tokens, tokens)
    hook.remove()
    assert all(parameter.grad is None for parameter in engine.model.parameters())
    engine.attempt(tokens, tokens)
    assert engine.step_number == 0
    assert [stepped(engine, seed) for seed in (1, 2)] == [stepped(other, seed) for seed in (1, 2)]
