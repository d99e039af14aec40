"""Which precision runs where: the table of facts/trainer.md, section 1, and the recipes by version, section 2.1."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from profiles import bases, coverage, gpus, lock, owned, precision
from profiles.bases import BaseFacts, Fact
from profiles.checks import check
from profiles.consequences import consequences
from profiles.errors import WrongInput
from profiles.load import load, parse
from profiles.schema import Profile


def base(cuda: str = "13.0", te: str = "2.10", arch: str = "7.5 8.0 8.6 9.0 10.0 12.0+PTX", **more: str) -> BaseFacts:
    """A base whose facts are all sure."""
    values = {"cuda": cuda, "transformer_engine": te, "arch": arch, **more}
    return BaseFacts("test/base:1", True, {key: Fact(value, "probed") for key, value in values.items() if value})


def runs(wish: str, gpu: str, facts: BaseFacts) -> bool:
    return precision.judge(wish, gpus.gpu(gpu), facts).why_not is None


@pytest.mark.parametrize(
    ("gpu", "can"),
    [
        ("a100-80-sxm", {"bf16"}),
        ("rtx3090", {"bf16"}),
        ("rtx4090", {"bf16", "fp8-delayed", "fp8-current"}),
        ("l40s", {"bf16", "fp8-delayed", "fp8-current"}),
        ("h100-sxm", {"bf16", "fp8-delayed", "fp8-current", "fp8-block"}),
        ("h200-sxm", {"bf16", "fp8-delayed", "fp8-current", "fp8-block"}),
        ("b200", {"bf16", "fp8-delayed", "fp8-current", "fp8-block", "mxfp8", "nvfp4"}),
        ("b300", {"bf16", "fp8-delayed", "fp8-current", "fp8-block", "mxfp8", "nvfp4"}),
        ("rtx5090", {"bf16", "fp8-delayed", "fp8-current"}),  # block and NVFP4 pass TE's rule, unproven: refused
    ],
)
def test_what_each_gpu_can_do_with_a_new_base(gpu: str, can: set[str]) -> None:
    assert {wish for wish in precision.RULES if runs(wish, gpu, base())} == can | {"fp32", "fp16"}


@pytest.mark.parametrize(
    ("wish", "gpu", "below", "enough"),
    [
        ("fp8-current", "h100-sxm", {"te": "2.1"}, {"te": "2.2.0+abc"}),
        ("fp8-block", "h100-sxm", {"te": "2.2"}, {"te": "2.3"}),
        ("fp8-block", "h100-sxm", {"cuda": "12.8.1"}, {"cuda": "12.9.0.036"}),
        ("mxfp8", "b200", {"te": "1.14"}, {"te": "2.0"}),
        ("nvfp4", "b200", {"te": "2.7"}, {"te": "2.8"}),
        ("fp8-delayed", "rtx4090", {"cuda": "12.0"}, {"cuda": "12.1"}),
    ],
)
def test_recipes_begin_with_a_version(wish: str, gpu: str, below: dict[str, str], enough: dict[str, str]) -> None:
    assert not runs(wish, gpu, base(**below))
    assert runs(wish, gpu, base(**enough))


@pytest.mark.parametrize("wish", sorted(precision.RULES))
def test_a_cpu_computes_in_fp32_or_bf16(wish: str) -> None:
    assert (precision.judge(wish, None, base()).why_not is None) == (wish in ("fp32", "bf16"))


def test_an_unknown_version_warns_and_a_recalled_one_is_called_so() -> None:
    h100 = gpus.gpu("h100-sxm")
    (line,) = precision.check("fp8-current", h100, base(te=""))
    assert "is not known; run `inv lock`" in line
    (line,) = precision.check("fp8-current", h100, bases.base_facts("25.04-py3"))
    assert "2.2 (recalled)" in line
    assert precision.check("fp8-current", h100, bases.base_facts("25.06-py3")) == []


REFUSED = [
    # profile, changes, base tag, what is said, what to choose
    ("h100-fp8", {}, "24.10-py3", "fp8-current does not run on", "choose fp8-delayed, or a base from 25.04"),
    ("rtx5090-fp8", {}, "24.10-py3", "CUDA 12.6.2 has no sm_120", "choose a base from 25.01, better from 25.10"),
    ("b200-mxfp8", {}, "24.10-py3", "CUDA 12.6.2 has no sm_100", "choose a base from 25.01, better from 25.10"),
    ("b200-nvfp4", {}, "25.09-py3", "it needs Transformer Engine 2.8, the base has 2.7 (recalled)", "choose mxfp8"),
    ("a100-40-bf16", {"precision": "fp8-current"}, None, "FP8 hardware begins with", "choose bf16"),
    ("h100-fp8", {"precision": "mxfp8"}, None, "begins with compute capability 10.0", "choose fp8-current"),
    ("h100-fp8", {"precision": "nvfp4"}, None, "begins with compute capability 10.0", "choose fp8-current"),
    ("h100-fp8", {"precision": "fp8-block"}, "25.03-py3", "it needs", "choose fp8-delayed, or a base from 25.05"),
    ("l40s-fp8", {"precision": "fp8-block"}, None, "begins with compute capability 9.0", "choose fp8-current"),
    ("rtx5090-fp8", {"precision": "mxfp8"}, None, "ends below compute capability 12.0", "choose fp8-current"),
    ("rtx5090-fp8", {"precision": "nvfp4"}, None, "nobody has shown it to work", "choose fp8-current"),
    ("cpu", {"precision": "fp8-current"}, None, "a CPU computes in fp32 or bf16", "choose bf16"),
    ("cpu", {"attention": "te"}, None, "attention `te` needs a GPU", "choose sdpa"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "tag", "what", "step"), REFUSED)
def test_impossible_wishes_are_refused_with_what_to_choose(
    name: str, changes: dict[str, str], tag: str | None, what: str, step: str
) -> None:
    profile = parse(name).model_copy(update=changes)
    if tag:
        profile = on_tag(profile, tag)
    with pytest.raises(WrongInput) as caught:
        check(profile)
    assert caught.value.what.startswith(f"profile `{name}`: ")
    assert what in caught.value.what
    assert caught.value.next_step.startswith(step)


def on_tag(profile: Profile, tag: str) -> Profile:
    image = f"{profile.base.repository}:{tag}"
    return profile.model_copy(update={"base": profile.base.model_copy(update={"image": image})})


@pytest.mark.parametrize(
    ("name", "changes", "tag", "what", "step"), [row for row in REFUSED if row[2] and "choose fp8" in row[4]]
)
def test_the_advice_works(name: str, changes: dict[str, str], tag: str, what: str, step: str) -> None:
    profile = parse(name).model_copy(update=changes)
    instead = step.removeprefix("choose ").split(",")[0]
    check(on_tag(profile, tag).model_copy(update={"precision": instead}))
    found = re.search(r"base from (\d\d\.\d\d)", step)
    assert found
    for later in bases.tags():
        if later >= found[1]:
            check(on_tag(profile, later))


def test_a_debian_base_has_no_transformer_engine() -> None:
    cpu = parse("cpu")
    profile = cpu.model_copy(update={"gpu": parse("h100-fp8").gpu, "precision": "fp8-current"})
    with pytest.raises(WrongInput, match="which debian:bookworm has not"):
        check(profile)


@pytest.mark.parametrize(
    ("gpu", "arch", "answer"),
    [
        ("h100-sxm", "8.0 9.0", "runs"),
        ("rtx4090", "8.0 8.6 9.0", "runs"),  # Ada runs the 8.6 cubins
        ("b300", "9.0 10.0", "runs"),  # 10.3 runs the 10.0 cubins
        ("a100-80-sxm", "8.6 9.0", "refused"),  # minor below: no
        ("h100-sxm", "8.0 8.6+PTX", "slow"),
        ("rtx5090", "8.0 9.0 10.0", "refused"),
        ("rtx5090", "9.0 10.0+PTX", "slow"),
        ("h100-sxm", "8.0 12.0+PTX", "refused"),  # PTX runs on what is newer only
        ("h100-sxm", "8.0;9.0a", "runs"),
    ],
)
def test_which_gpus_a_base_has_code_for(gpu: str, arch: str, answer: str) -> None:
    verdict = coverage.judge(gpus.gpu(gpu), base(arch=arch))
    assert {"runs": (None, 0), "slow": (None, 1)}.get(answer) == (verdict.why_not, len(verdict.doubts)) or (
        answer == "refused" and verdict.why_not
    )


def test_blackwell_needs_a_toolkit_that_knows_it_whatever_ptx_there_is() -> None:
    with pytest.raises(WrongInput, match=r"has no sm_120, which begins with CUDA 12\.8"):
        coverage.check(gpus.gpu("rtx5090"), base(cuda="12.6", arch="9.0+PTX"))


@pytest.mark.parametrize(
    ("tag", "requirement", "step"),
    [
        ("24.10-py3", "torch>=2.5", "write torch==2.5.* or torch>=2.5.0a0, or leave it out"),
        ("24.10-py3", "torch==2.5.0", "write torch==2.5.* or torch>=2.5.0a0, or leave it out"),
        ("26.08-py3", "torch>=2.14", "write torch==2.14.* or torch>=2.14.0a0, or leave it out"),
        ("25.06-py3", "torch>=2.9", "leave torch out, or choose a base from 25.11"),
        ("25.06-py3", "torch>=2.99", "leave torch out: the base brings its own"),
        ("25.06-py3", "Transformer_Engine>=2.8", "leave transformer-engine out, or choose a base from 25.10"),
        ("25.06-py3", "torchvision>=0.20", "leave `torchvision>=0.20` out: the base brings its own torchvision"),
        ("25.06-py3", "torch @ https://example.org/torch.whl", "leave `torch @ https://example.org/torch.whl` out"),
        ("25.06-py3", "nvidia-nccl-cu12", "leave `nvidia-nccl-cu12` out: the base brings its own"),
        ("25.06-py3", "numpy>=2", "leave numpy out"),
        ("25.06-py3", "flash-attn==2.8.3", "leave flash-attn out"),
    ],
)
def test_a_requirement_that_would_replace_the_bases_build(tag: str, requirement: str, step: str) -> None:
    with pytest.raises(WrongInput) as caught:
        owned.check((requirement,), bases.base_facts(tag))
    assert "replace" in caught.value.what
    assert caught.value.next_step.startswith(step)


@pytest.mark.parametrize(
    ("tag", "requirement"),
    [
        ("24.10-py3", "torch"),
        ("24.10-py3", "torch>=2.4"),
        ("24.10-py3", "torch==2.5.*"),
        ("24.10-py3", "torch>=2.5.0a0"),
        ("26.08-py3", "torch~=2.13"),
        ("25.10-py3", "numpy>=2"),
        ("25.06-py3", "triton"),
        ("24.10-py3", "torchmetrics>=1"),
    ],
)
def test_a_requirement_that_the_bases_build_meets(tag: str, requirement: str) -> None:
    assert owned.check((requirement,), bases.base_facts(tag)) == []


def test_numpy_of_25_06_is_only_inferred() -> None:
    (line,) = owned.check(("numpy<2",), bases.base_facts("25.06-py3"))
    assert "1.26.4 (inferred)" in line


def test_the_fix_that_is_named_is_one() -> None:
    facts = bases.base_facts("24.10-py3")
    for fix in ("torch==2.5.*", "torch>=2.5.0a0"):
        assert owned.check((fix,), facts) == []


def test_the_torch_trap_is_caught_when_the_profile_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: h100-zero3\npython: {requirements: ['torch>=2.5']}\n")
    assert load("mine", folder=tmp_path)  # 2.8.0a0 is above 2.5
    with pytest.raises(WrongInput, match=r"a pre-release, which PEP 440 sorts below 2\.5\.0"):
        load("mine", folder=tmp_path, base_tag="24.10-py3")


@pytest.mark.parametrize(
    ("tag", "gpu", "driver", "accepted"),
    [
        ("24.10-py3", "h100-sxm", "560.35.03", True),
        ("24.10-py3", "h100-sxm", "550.54.15", False),  # no compat for R550
        ("24.10-py3", "h100-sxm", "535.183.06", True),
        ("24.10-py3", "h100-sxm", "535.54.03", False),
        ("24.10-py3", "rtx4090", "535.183.06", False),  # GeForce: no forward compatibility
        ("25.06-py3", "h100-pcie", "535.129.03", True),  # seen working
        ("25.06-py3", "l40s", "570.124.06", False),  # seen failing: "compatibility mode is UNAVAILABLE"
        ("25.06-py3", "rtx4090", "575.57.08", True),
        ("25.08-py3", "h100-sxm", "575.57.08", False),
        ("25.10-py3", "b200", "580.95.05", True),
        ("26.08-py3", "rtx5090", "580.95.05", True),
        ("26.08-py3", "rtx5090", "nonsense", False),
    ],
)
def test_driver_floor(tag: str, gpu: str, driver: str, accepted: bool) -> None:
    floor = bases.driver_floor(bases.base_facts(tag), gpus.gpu(gpu))
    assert floor is not None
    assert floor.accepts(driver) is accepted


def test_driver_floor_of_what_is_not_in_the_table() -> None:
    h100 = gpus.gpu("h100-sxm")
    assert bases.driver_floor(base(cuda=""), h100) is None
    newer = bases.driver_floor(base(cuda="13.6"), h100)
    assert newer is not None and (newer.branch, newer.confidence) == (580, "inferred")
    assert bases.driver_floor(base(cuda="14.0"), h100) is None


def test_consequences_are_told() -> None:
    told = "\n".join(
        consequences(on_tag(parse("h100-fp8").model_copy(update={"precision": "fp8-delayed"}), "24.10-py3"))
    )
    assert "FP8 by delayed scaling only" in told
    assert "needs a driver R560 or newer, or R470.57+" in told
    told = "\n".join(
        consequences(on_tag(parse("h100-fp8").model_copy(update={"precision": "fp8-delayed"}), "26.08-py3"))
    )
    assert "NVTE_ALLOW_UNSAFE_PICKLE_EXTRA_STATE=1" in told
    assert "has no FP8 hardware" in "\n".join(consequences(parse("a100-80-bf16")))
    told = "\n".join(consequences(parse("cpu").model_copy(update={"env": {"TRANSFORMER_ENGINE_TYPE_SAFE_FP8": "1"}})))
    assert "is read by no program" in told


def locked(name: str, facts: dict[str, str | None], image: str | None = None) -> lock.Lock:
    profile = parse(name)
    registry = lock.RegistryBase(
        name=image or profile.base.name, digest=f"sha256:{'a' * 64}", media_type="m", size=1, facts=facts
    )
    return lock.Lock(
        profile=name,
        locked_at="2026-11-20T00:00:00Z",
        bases={"linux/amd64": registry},
        requirements_hash=lock.requirements_hash(profile),
    )


def test_what_a_lock_has_read_overrules_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_LOCKS", str(tmp_path))
    before = consequences(load("h100-fp8"))
    assert any("was compiled is not known" in line for line in before)
    lock.write(locked("h100-fp8", {"transformer_engine": "2.4.0", "arch_list": "8.0 9.0", "cuda": None}))
    after = consequences(load("h100-fp8"))
    assert not any("not known" in line for line in after)
    assert bases.facts_of(parse("h100-fp8"), None, lock.read("h100-fp8")).cuda.confidence == "seen"
    lock.write(locked("h100-fp8", {"transformer_engine": "1.11", "arch_list": "8.0 9.0"}))
    with pytest.raises(WrongInput, match=r"needs Transformer Engine 2\.2, the base has 1\.11$"):
        load("h100-fp8")


def test_a_lock_of_another_base_says_nothing_about_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOKER_LOCKS", str(tmp_path))
    lock.write(locked("h100-fp8", {"transformer_engine": "1.11"}, image="nvcr.io/nvidia/pytorch:24.10-py3"))
    assert load("h100-fp8").precision == "fp8-current"
