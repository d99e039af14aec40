"""The Transformer Engine back end against the recorded signatures of every version from 1.11 to 2.20."""

from __future__ import annotations

import io
import os
import sys

import fake_transformer_engine as fake
import pytest

GATE = "NVTE_ALLOW_UNSAFE_PICKLE_EXTRA_STATE"
RECIPES = {
    "fp8-delayed": "DelayedScaling",
    "fp8-current": "Float8CurrentScaling",
    "fp8-block": "Float8BlockScaling",
    "mxfp8": "MXFP8BlockScaling",
    "nvfp4": "NVFP4BlockScaling",
}


def knows(version, name):
    return RECIPES[name] in fake.facts_of(version)["recipes"]


def cases():
    return [(version, name) for version in fake.VERSIONS for name in RECIPES if knows(version, name)]


@pytest.fixture
def build(torch, monkeypatch):
    """A back end over a faked version, on the CPU."""
    monkeypatch.delenv(GATE, raising=False)

    def made(version, name="fp8-delayed", **fields):
        from trainer.precision.backend import build
        from trainer.precision.resolved import Resolved

        engine = fake.install(version, monkeypatch)
        values = {"min_dim": 32, "te": version, **fields}
        return build(Resolved(name, "te", "a test", "cpu", **values)), engine

    return made


def model_of(backend, torch):
    torch.manual_seed(0)
    return torch.nn.Sequential(backend.linear(64, 128, True), backend.linear(128, 64, False), torch.nn.Linear(64, 8))


def forward(backend, model, torch, step=0, rows=32):
    with backend.autocast(step):
        return model(torch.randn(rows, 64))


def test_signatures_are_recorded_for_every_image_we_name():
    assert fake.VERSIONS[0] == "1.11.0" and fake.VERSIONS[-1] == "2.20.2"
    assert {"2.8.0", "2.9.0", "2.13.0", "2.15.0", "2.17.0", "2.18.0", "2.19.0"} <= set(fake.VERSIONS)


@pytest.mark.parametrize(("version", "name"), cases())
def test_layers_train_in_every_recipe_of_every_version(build, torch, version, name):
    backend, engine = build(version, name)
    model = model_of(backend, torch)
    forward(backend, model, torch).float().sum().backward()
    assert model[0].weight.grad is not None and model[0].weight.dtype == torch.float32
    assert [given["params_dtype"] for given in engine.linears] == [torch.float32, torch.float32]
    ((enabled, recipe),) = engine.regions
    assert enabled and type(recipe).__name__ == RECIPES[name]
    assert backend.active(model) == 2 and backend.check_active(model, 0) == 2
    assert backend.statistics(model)["fp8_layers"] == 2


@pytest.mark.parametrize(("version", "name"), [(v, n) for n in RECIPES for v in fake.VERSIONS if not knows(v, n)])
def test_the_policy_never_asks_a_version_for_a_recipe_it_lacks(torch, version, name):
    from trainer.precision import rules
    from trainer.precision.machine import Machine, numbers

    assert not rules.te_has(name, Machine("cuda", (10, 0), (13, 0), numbers(version)))


@pytest.mark.parametrize(("version", "name"), cases())
def test_the_policy_knows_which_version_has_a_recipe(torch, version, name):
    from trainer.precision import rules
    from trainer.precision.machine import Machine, numbers

    assert rules.te_has(name, Machine("cuda", (10, 0), (13, 0), numbers(version)))


@pytest.mark.parametrize("version", fake.VERSIONS)
def test_delayed_scaling_takes_the_configured_history(build, version):
    backend, _ = build(version, margin=1, amax_history=16, amax_algorithm="most_recent")
    recipe = backend._recipe
    assert (recipe.margin, recipe.amax_history_len, recipe.amax_compute_algo) == (1, 16, "most_recent")
    assert recipe.fp8_format is fake.Format.HYBRID and recipe.reduce_amax is True


@pytest.mark.parametrize("version", fake.VERSIONS)
def test_fp8_is_off_until_the_warm_up_is_over(build, torch, version):
    from trainer.errors import TrainerError

    backend, engine = build(version, warmup_steps=2)
    model = model_of(backend, torch)
    for step in (0, 1):
        forward(backend, model, torch, step)
        assert backend.active(model) == 0 and backend.check_active(model, step) == 0
    forward(backend, model, torch, 2)
    assert backend.active(model) == 2
    assert [enabled for enabled, _ in engine.regions] == [False, False, True]
    model[0].fp8 = model[1].fp8 = False
    with pytest.raises(TrainerError, match="no layer multiplied in FP8"):
        backend.check_active(model, 2)


@pytest.mark.parametrize("version", ["1.11.0", "2.8.0", "2.20.2"])
def test_any_number_of_tokens_fits_by_padding(build, torch, version):
    backend, _ = build(version)
    model = model_of(backend, torch)
    for shape in ((3, 64), (2, 5, 64), (16, 64)):
        with backend.autocast(0):
            y = model(torch.randn(shape))
        assert y.shape == (*shape[:-1], 8)


@pytest.mark.parametrize("version", ["1.11.0", "2.20.2"])
def test_padding_changes_no_result(build, torch, version):
    backend, _ = build(version)
    layer, x = model_of(backend, torch)[0], torch.randn(5, 64)
    with backend.autocast(0):
        assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))


def test_small_odd_and_excluded_layers_stay_plain(build, torch):
    backend, _ = build("2.9.0")
    for layer in (backend.linear(16, 64, True), backend.linear(72, 100, True), backend.linear(64, 64, True, False)):
        assert type(layer) is torch.nn.Linear
    wide, _ = build("2.9.0", "mxfp8")
    assert type(wide.linear(48, 64, True)) is torch.nn.Linear, "an MXFP8 block is 32 long"


@pytest.mark.parametrize("version", fake.VERSIONS)
def test_activation_checkpointing_uses_the_library_s_own(build, torch, version):
    backend, engine = build(version)
    layer = model_of(backend, torch)[0]
    x = torch.randn(16, 64, requires_grad=True)
    with backend.autocast(0):
        y = backend.checkpoint(layer, x)
    y.float().sum().backward()
    assert engine.checkpointed == 1 and x.grad is not None


@pytest.mark.parametrize("version", fake.VERSIONS)
def test_delayed_scales_survive_a_save_and_a_load(build, torch, version, tmp_path):
    backend, _ = build(version)
    model, fresh = model_of(backend, torch), model_of(backend, torch)
    forward(backend, model, torch)
    kept = backend.before_save(model.state_dict())
    assert sum(name.endswith("_extra_state") for name in kept) == 2
    torch.save(kept, tmp_path / "model.pt")
    stored = torch.load(tmp_path / "model.pt", weights_only=True)  # no pickle of ours is needed to read the file
    wanted = backend.after_load(stored)
    with backend.loading():
        missing, unexpected = fresh.load_state_dict(wanted, strict=False)
    assert not missing and not unexpected
    for key in ("scaling_fwd", "scaling_bwd"):
        assert torch.equal(fresh[0].fp8_meta[key].scale, model[0].fp8_meta[key].scale)
        assert torch.equal(fresh[0].fp8_meta[key].amax_history, model[0].fp8_meta[key].amax_history)
    assert GATE not in os.environ


@pytest.mark.parametrize("version", ["2.18.0", "2.19.0", "2.20.2"])
def test_the_pickle_gate_is_open_only_while_our_own_files_load(build, torch, version, monkeypatch):
    backend, _ = build(version)
    model = model_of(backend, torch)
    forward(backend, model, torch)
    wanted = backend.after_load(backend.before_save(model.state_dict()))
    with pytest.raises(RuntimeError, match="Refusing to load pickled"):
        model.load_state_dict(wanted, strict=False)
    monkeypatch.setenv(GATE, "0")
    with backend.loading():
        assert os.environ[GATE] == "1"
        model.load_state_dict(wanted, strict=False)
    assert os.environ[GATE] == "0"
    with pytest.raises(ZeroDivisionError), backend.loading():
        raise ZeroDivisionError
    assert os.environ[GATE] == "0"


def test_the_gate_stays_shut_for_stateless_recipes_and_older_versions(build):
    for version, name in (("2.18.0", "fp8-current"), ("2.17.0", "fp8-delayed")):
        backend, _ = build(version, name)
        with backend.loading():
            assert GATE not in os.environ


@pytest.mark.parametrize(("version", "name"), [case for case in cases() if case[1] != "fp8-delayed"])
def test_stateless_recipes_save_no_extra_state(build, torch, version, name):
    backend, _ = build(version, name)
    model = model_of(backend, torch)
    forward(backend, model, torch)
    kept = backend.before_save(model.state_dict())
    assert set(kept) == set(dict(model.named_parameters()))


@pytest.mark.parametrize("version", fake.VERSIONS)
def test_a_model_that_never_ran_saves_no_extra_state(build, torch, version):
    backend, _ = build(version)
    model = model_of(backend, torch)
    assert any(name.endswith("_extra_state") for name in model.state_dict())
    assert set(backend.before_save(model.state_dict())) == set(dict(model.named_parameters()))


def test_a_bf16_checkpoint_and_an_fp8_one_load_into_each_other(build, torch):
    from trainer.precision.backend import build as build_any
    from trainer.precision.resolved import Resolved

    te, _ = build("2.20.2")
    plain = build_any(Resolved("bf16", "plain", "a test", "cpu"))
    model, other = model_of(te, torch), model_of(plain, torch)
    forward(te, model, torch)
    other.load_state_dict(plain.after_load(te.before_save(model.state_dict())), strict=True)
    missing, unexpected = model.load_state_dict(te.after_load(plain.before_save(other.state_dict())), strict=False)
    assert all(name.endswith("_extra_state") for name in missing) and not unexpected


def test_scales_saved_by_1_11_are_read_by_2_20(build, torch):
    old, _ = build("1.11.0")
    model = model_of(old, torch)
    forward(old, model, torch)
    stored, scale = old.before_save(model.state_dict()), model[0].fp8_meta["scaling_fwd"].scale
    new, _ = build("2.20.2")
    fresh = model_of(new, torch)
    wanted = new.after_load(stored)
    assert any(isinstance(value, io.BytesIO) for value in wanted.values())
    with new.loading():
        fresh.load_state_dict(wanted, strict=False)
    assert torch.equal(fresh[0].fp8_meta["scaling_fwd"].scale, scale)


def test_scales_saved_by_2_x_are_refused_under_1_11(build, torch):
    from trainer.errors import TrainerError

    new, _ = build("2.20.2")
    model = model_of(new, torch)
    forward(new, model, torch)
    stored = new.before_save(model.state_dict())
    old, _ = build("1.11.0")
    with pytest.raises(TrainerError, match=r"saved by Transformer Engine 2\.x"):
        old.after_load(stored)


@pytest.mark.parametrize("version", fake.VERSIONS)
def test_statistics_of_delayed_scaling_are_scale_and_amax_by_role(build, torch, version):
    backend, _ = build(version)
    model = model_of(backend, torch)
    assert backend.statistics(model) == {"fp8_layers": 0}
    forward(backend, model, torch)
    found = backend.statistics(model)
    largest = max(float(layer.weight.detach().abs().max()) for layer in model[:2])
    assert found["fp8_weight_amax_max"] == pytest.approx(largest)
    assert found["fp8_weight_scale_min"] == pytest.approx(448 / largest)
    assert found["fp8_input_scale_min"] <= found["fp8_input_scale_max"]


@pytest.mark.parametrize("version", ["1.11.0", "2.8.0", "2.9.0", "2.20.2"])
def test_a_device_that_the_library_refuses_is_an_error_with_its_reason(build, version, monkeypatch):
    from trainer.errors import TrainerError

    real = fake.Engine.modules

    def refusing(self):
        self.refusal = "Device compute capability 8.9 or higher required for FP8 execution."
        return real(self)

    monkeypatch.setattr(fake.Engine, "modules", refusing)
    with pytest.raises(TrainerError, match=r"compute capability 8\.9 or higher"):
        build(version)


@pytest.mark.parametrize("version", ["2.3.0", "2.20.2"])
def test_a_probe_multiplies_for_real_and_reports_what_went_wrong(build, torch, version, monkeypatch):
    from trainer.precision.te.probe import probe

    _, engine = build(version, "fp8-block")
    assert probe("fp8-block", "cpu") == ""
    assert engine.regions[-1][0] is True and len(engine.linears) == 1
    linear = sys.modules["transformer_engine.pytorch"].Linear

    def broken(self, *arguments, **options):
        raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED\nmore")

    monkeypatch.setattr(linear, "forward", broken)
    assert probe("fp8-block", "cpu") == "CUBLAS_STATUS_NOT_SUPPORTED"


def test_without_the_library_the_error_names_the_package(torch, monkeypatch):
    from trainer.errors import TrainerError
    from trainer.precision.backend import build
    from trainer.precision.resolved import Resolved

    monkeypatch.setitem(sys.modules, "transformer_engine", None)
    monkeypatch.delitem(sys.modules, "transformer_engine.pytorch", raising=False)
    with pytest.raises(TrainerError) as error:
        build(Resolved("fp8-delayed", "te", "a test", "cuda"))
    assert "transformer_engine[pytorch]" in error.value.next_step
