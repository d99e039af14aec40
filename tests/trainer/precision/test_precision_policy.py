"""Which precision is chosen, and what is refused, by GPU, CUDA, Transformer Engine and the model's width."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer import config
from trainer.config.schema import PRECISIONS
from trainer.errors import TrainerError
from trainer.precision.machine import Machine, numbers
from trainer.precision.policy import Resolved, changed, resolve

WIDE = config.Model(family="llama", layers=4, width=2048, heads=16, context=2048, vocab=32768)
NARROW = config.Model(family="llama", layers=4, width=768, heads=12, context=2048, vocab=32768)

CPU = Machine("cpu")
T4 = Machine("cuda", (7, 5), (12, 6), None, (2, 9))
A100 = Machine("cuda", (8, 0), (12, 6), (2, 9), (2, 9))
RTX4090 = Machine("cuda", (8, 9), (12, 6), (2, 9), (2, 9))
H100_2410 = Machine("cuda", (9, 0), (12, 6), (1, 11), (2, 5))
H100_BARE = Machine("cuda", (9, 0), (12, 8), None, (2, 11))
H100 = Machine("cuda", (9, 0), (13, 0), (2, 18), (2, 12))
B200 = Machine("cuda", (10, 0), (13, 0), (2, 18), (2, 12))
RTX5090 = Machine("cuda", (12, 0), (13, 0), (2, 18), (2, 12), probe=lambda name: "")


def ask(name="auto", machine=H100, shape=WIDE, trained_by="ddp", compiled=False, **fields):
    return resolve(config.Precision(name=name, **fields), machine, shape, trained_by, compiled)


def refused(match, *arguments, **options):
    with pytest.raises(TrainerError, match=match) as error:
        ask(*arguments, **options)
    assert error.value.next_step and "\n" not in error.value.what
    return error.value


@pytest.mark.parametrize(
    ("machine", "compiled", "name", "backend"),
    [
        (CPU, False, "fp32", "plain"),
        (T4, False, "fp16", "plain"),
        (A100, False, "bf16", "plain"),
        (RTX4090, False, "fp8-current", "te"),
        (H100_2410, False, "bf16", "plain"),
        (H100_2410, True, "fp8-current", "native"),
        (H100_BARE, False, "bf16", "plain"),
        (H100_BARE, True, "fp8-current", "native"),
        (H100, False, "fp8-current", "te"),
        (H100, True, "fp8-current", "native"),
        (B200, False, "fp8-current", "te"),
        (RTX5090, False, "fp8-current", "te"),
    ],
)
def test_auto_takes_what_pays_on_the_machine(machine, compiled, name, backend):
    found = ask("auto", machine, compiled=compiled)
    assert (found.name, found.backend) == (name, backend)
    assert found.reason and found.reason in found.describe()


def test_auto_takes_bf16_for_narrow_models_and_says_why():
    found = ask("auto", H100, NARROW)
    assert found.name == "bf16" and "768" in found.reason and "1024" in found.reason
    assert ask("auto", H100, NARROW, min_dim=512).name == "fp8-current"


def test_grouped_queries_do_not_make_the_fused_projection_narrow():
    grouped = config.Model(family="llama", layers=4, width=2048, heads=16, kv_heads=2, vocab=32768)
    assert ask("auto", H100, grouped).name == "fp8-current"


def test_auto_takes_bf16_where_dimensions_are_no_multiples_of_16():
    odd = config.Model(family="gpt2", layers=4, width=2056, heads=8)
    assert ask("auto", H100, odd).name == "bf16"


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("machine", [CPU, A100, H100, B200])
def test_plain_precisions_are_given_as_asked(name, machine):
    found = ask(name, machine)
    assert (found.name, found.backend, found.emulate) == (name, "plain", False)


def test_fp8_on_an_a100_is_an_error_that_offers_bf16():
    for name in ("fp8-current", "fp8-delayed", "fp8-block", "mxfp8", "nvfp4"):
        assert "bf16" in refused("compute capability 8.0", name, A100).next_step


def test_bf16_on_a_t4_is_an_error_that_offers_fp16():
    assert "fp16" in refused("8.0", "bf16", T4).next_step
    assert "fp16" in refused("8.9", "fp8-current", T4).next_step


def test_current_scaling_in_an_old_image_offers_native_and_delayed():
    assert ask("fp8-current", H100_2410).backend == "native"
    error = refused(r"2\.2 or newer, and 1\.11 is installed", "fp8-current", H100_2410, backend="te")
    assert "native" in error.next_step and "fp8-delayed" in error.next_step


def test_delayed_scaling_works_in_24_10_and_needs_the_library():
    found = ask("fp8-delayed", H100_2410, margin=1, amax_history=16, amax_algorithm="most_recent")
    assert (found.backend, found.te, found.margin, found.amax_history) == ("te", "1.11", 1, 16)
    assert found.amax_algorithm == "most_recent"
    refused("none is installed", "fp8-delayed", H100_BARE)


def test_block_scaling_needs_hopper_and_cuda_12_9():
    assert ask("fp8-block", H100).backend == "te"
    old = Machine("cuda", (9, 0), (12, 8), (2, 8), (2, 8))
    refused(r"CUDA 12\.9", "fp8-block", old)
    refused(r"compute capability 9\.0", "fp8-block", RTX4090)
    refused(r"2\.3 or newer", "fp8-block", Machine("cuda", (9, 0), (12, 9), (2, 2), (2, 8)))


def test_mxfp8_is_for_data_centre_blackwell_only():
    assert ask("mxfp8", B200).name == "mxfp8"
    for machine in (H100, RTX5090):
        assert "fp8-current" in refused("10.x", "mxfp8", machine).next_step


def test_nvfp4_needs_blackwell():
    assert ask("nvfp4", B200).name == "nvfp4"
    refused("Blackwell", "nvfp4", H100)


@pytest.mark.parametrize("name", ["fp8-block", "nvfp4"])
def test_on_compute_capability_12_only_a_try_counts(name):
    assert ask(name, RTX5090).name == name
    failing = Machine("cuda", (12, 0), (13, 0), (2, 18), (2, 12), probe=lambda asked: f"{asked}: cuBLAS refused")
    refused(f"{name}: cuBLAS refused", name, failing)
    refused("could not be tried", name, Machine("cuda", (12, 0), (13, 0), (2, 18), (2, 12)))


def test_a_probe_is_not_run_where_the_rules_decide():
    def never(name):
        raise AssertionError(name)

    machine = Machine("cuda", (10, 0), (13, 0), (2, 18), (2, 12), probe=never)
    for name in ("auto", "fp8-current", "fp8-delayed", "fp8-block", "mxfp8", "nvfp4"):
        ask(name, machine)


def test_ada_needs_cuda_12_1():
    old = Machine("cuda", (8, 9), (12, 0), (2, 9), (2, 9))
    refused(r"CUDA 12\.1", "fp8-current", old)
    assert ask("auto", old).name == "bf16"


def test_the_back_end_can_be_chosen():
    assert ask("fp8-current", H100, backend="native").backend == "native"
    assert ask("fp8-current", H100, backend="te", compiled=True).backend == "te"
    assert ask("auto", H100, backend="native").backend == "native"
    assert ask("auto", H100_2410, backend="te").name == "bf16"
    refused("native back end has fp8-current only", "fp8-delayed", H100, backend="native")


def test_delayed_scaling_under_zero_3_is_refused():
    refused("stage 3", "fp8-delayed", H100, trained_by="deepspeed-3")
    assert ask("fp8-delayed", H100, trained_by="deepspeed-2").name == "fp8-delayed"
    assert ask("fp8-current", H100, trained_by="deepspeed-3").name == "fp8-current"


def test_delayed_scaling_in_a_compiled_model_is_refused_where_the_library_refuses_it():
    assert "train.compile=false" in refused("torch.compile", "fp8-delayed", H100, compiled=True).next_step
    assert "breaks its graph" in ask("fp8-delayed", H100_2410, compiled=True).reason


def test_fp8_that_would_reach_no_layer_is_refused():
    assert "bf16" in refused("768 is below precision.min_dim 1024", "fp8-current", H100, NARROW).next_step
    odd = config.Model(family="gpt2", layers=4, width=1032, heads=8)
    refused("multiples of 16", "fp8-current", H100, odd)
    two = config.Model(family="llama", layers=2, width=2048, heads=16)
    refused("leaves no block", "fp8-current", H100, two, keep_ends=True)
    assert ask("auto", H100, two, keep_ends=True).name == "bf16"
    sixteens = config.Model(family="gpt2", layers=4, width=1040, heads=8, ffn=4112)
    refused("multiples of 32", "mxfp8", B200, sixteens)


def test_fp8_on_a_cpu_is_an_error_unless_emulation_is_switched_on():
    refused("on a CPU", "fp8-current", CPU)
    emulating = Machine("cpu", emulate=True)
    found = ask("fp8-current", emulating)
    assert found.backend == "native" and found.emulate and "EMULATED" in found.describe()
    refused("only native fp8-current is emulated", "fp8-delayed", emulating)
    refused("only native fp8-current is emulated", "fp8-current", emulating, backend="te")
    assert ask("auto", emulating).name == "fp32", "auto never emulates"


def test_the_environment_switches_emulation_on(torch, monkeypatch):
    from trainer.precision.machine import look

    monkeypatch.delenv("STOKER_FP8_EMULATE", raising=False)
    assert look("cpu") == Machine("cpu", te=look("cpu").te, torch=numbers(torch.__version__)[:2])
    monkeypatch.setenv("STOKER_FP8_EMULATE", "1")
    assert look("cpu").emulate


def test_an_unknown_name_is_refused():
    assert "fp8-current" in refused("'fp8'", "fp8").next_step


machines = st.builds(
    Machine,
    st.just("cuda"),
    st.sampled_from([(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (10, 3), (12, 0), (12, 1)]),
    st.sampled_from([None, (12, 0), (12, 6), (12, 9), (13, 0)]),
    st.sampled_from([None, (1, 11), (2, 1), (2, 2), (2, 3), (2, 8), (2, 20, 2)]),
    st.just((2, 11)),
)
asked = st.builds(
    config.Precision,
    name=st.sampled_from(PRECISIONS),
    backend=st.sampled_from(["auto", "te", "native"]),
    keep_ends=st.booleans(),
    warmup_steps=st.integers(0, 5),
)


@given(asked, machines, st.sampled_from([WIDE, NARROW]), st.booleans())
def test_every_question_has_an_answer_or_a_refusal_with_a_next_step(precision, machine, shape, compiled):
    try:
        found = resolve(precision, machine, shape, "ddp", compiled)
    except TrainerError as error:
        assert precision.name not in ("auto", "fp32"), "auto and fp32 always work"
        assert error.what and error.next_step
        return
    assert found.name != "auto" and found.backend in ("plain", "te", "native")
    assert precision.name in ("auto", found.name), "nothing is changed silently"
    assert (found.backend == "plain") == (not found.fp8)
    assert found == resolve(precision, machine, shape, "ddp", compiled), "a pure function"
    again = Resolved.from_json(json.loads(json.dumps(found.to_json())))
    assert again == found and changed(found, again) == []


def test_a_resume_in_another_precision_is_named():
    before = ask("fp8-current", H100)
    assert changed(before, ask("bf16", H100)) == [
        "precision name: fp8-current -> bf16",
        "precision backend: te -> plain",
    ]
    assert changed(before, ask("fp8-current", H100, compiled=True)) == ["precision backend: te -> native"]
    assert changed(before, ask("fp8-current", H100, keep_ends=True)) == ["precision keep_ends: False -> True"]
    assert changed(before, ask("fp8-current", B200)) == [], "another GPU that computes the same"
    delayed = ask("fp8-delayed", H100)
    assert changed(delayed, ask("fp8-delayed", H100, margin=2)) == ["precision margin: 0 -> 2"]
    assert changed(ask("bf16", H100), ask("bf16", H100, margin=2, min_dim=64)) == [], "of no meaning in bf16"


def test_delayed_scales_cannot_go_back_to_1_x():
    newer, older = ask("fp8-delayed", H100), ask("fp8-delayed", H100_2410)
    assert len(changed(newer, older)) == 1 and "1.11" in changed(newer, older)[0]
    assert changed(older, newer) == []


def test_a_damaged_record_is_an_error():
    with pytest.raises(TrainerError, match="cannot be read"):
        Resolved.from_json({"backend": "plain"})


@pytest.mark.parametrize(
    ("text", "expected"), [("2.20.2+abc", (2, 20, 2)), ("1.11.0.post1", (1, 11, 0)), ("3", (3, 0)), ("x", (0, 0))]
)
def test_versions_are_read(text, expected):
    assert numbers(text) == expected
