"""Every profile that is shipped loads, keeps to the house rules, and is what its name says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from images.plan import HOME
from images.resolve import baked_profile
from profiles import bases, gpus, json_schema, schema
from profiles.consequences import consequences
from profiles.describe import rows
from profiles.load import load, names
from profiles.locations import PROFILES
from profiles.schema import Profile
from trainer.config import Config
from trainer.config.check import check, resolve
from trainer.config.read import apply_hardware

WANTED = {
    "cpu": (None, 0, "fp32"),
    "rtx4090-fp8": ("rtx4090", 1, "fp8-current"),
    "l40s-fp8": ("l40s", 1, "fp8-current"),
    "a100-40-bf16": ("a100-40-sxm", 2, "bf16"),
    "a100-80-bf16": ("a100-80-sxm", 4, "bf16"),
    "h100-fp8": ("h100-sxm", 8, "fp8-current"),
    "h100-pcie-fp8": ("h100-pcie", 8, "fp8-current"),
    "h100-zero3": ("h100-sxm", 8, "bf16"),
    "h200-fp8": ("h200-sxm", 8, "fp8-current"),
    "b200-mxfp8": ("b200", 8, "mxfp8"),
    "b200-nvfp4": ("b200", 8, "nvfp4"),
    "rtx5090-fp8": ("rtx5090", 1, "fp8-current"),
}
FILES = sorted(PROFILES.glob("*.yaml")) + sorted((PROFILES / "shared").glob("*.yaml"))


def test_the_list_is_complete() -> None:
    assert set(WANTED) <= set(names())
    assert "gpu" not in names()


@pytest.mark.parametrize("name", sorted(WANTED))
def test_each_is_what_its_name_says(name: str) -> None:
    profile = load(name)
    gpu = profile.gpu
    assert (gpu.type if gpu else None, gpu.count if gpu else 0, profile.precision) == WANTED[name]


@pytest.mark.parametrize("name", sorted(set(WANTED) - {"cpu"}))
def test_gpu_profiles_build_without_docker_and_run_as_ngc_asks(name: str) -> None:
    profile = load(name)
    assert profile.base.repository == "nvcr.io/nvidia/pytorch"
    assert profile.system.packages == ()
    assert profile.env["PYTHONUNBUFFERED"] == "1"
    assert profile.env["CUDA_DEVICE_MAX_CONNECTIONS"] == "1"
    assert not [key for key in profile.env if key.startswith("TRANSFORMER_ENGINE")]
    assert profile.volume == "/workspace"
    assert (profile.ipc, profile.ulimits.memlock, profile.ulimits.stack) == ("host", -1, 67108864)


@pytest.mark.parametrize("name", sorted(WANTED))
def test_the_trainer_takes_the_defaults(name: str) -> None:
    """The image bakes them beside the trainer, which refuses keys it does not know."""
    profile = load(name)
    config = Config()
    apply_hardware(config, baked_profile(profile, "1", None))
    resolve(config)
    check(config)
    assert config.precision.name == profile.precision and config.parallel.zero == profile.parallelism.zero


def test_no_shipped_gpu_profile_rests_on_a_guess_about_its_precision() -> None:
    """What is recalled may warn about the list of architectures, never about FP8 itself."""
    for name in WANTED:
        profile = load(name)
        assert not [line for line in consequences(profile) if line.startswith(f"{profile.precision} rests on")]


def test_zero3_is_deepspeed_without_offload() -> None:
    profile = load("h100-zero3")
    assert profile.parallelism.zero == 3
    assert profile.parallelism.offload == "none"
    assert any(text.startswith("deepspeed") for text in profile.python.requirements)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_names_the_schema_and_fits_it(path: Path) -> None:
    first = path.read_text("utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == json_schema.FILE
    jsonschema.validate(yaml.safe_load(path.read_text("utf-8")), json_schema.json_schema())


def test_the_committed_schema_is_current() -> None:
    assert json_schema.FILE.read_text("utf-8") == json_schema.text(), "run: python -m profiles.json_schema"
    jsonschema.Draft202012Validator.check_schema(json.loads(json_schema.text()))


@pytest.mark.parametrize(
    "wrong",
    [{"precison": "bf16"}, {"gpu": {"type": "h100"}}, {"gpu": {"type": "h100-sxm", "count": 0}}, {"ports": ["22"]}],
)
def test_the_schema_shows_mistakes_in_an_editor(wrong: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, json_schema.json_schema())


def test_every_key_is_described() -> None:
    def undescribed(node: dict[str, object], where: str) -> list[str]:
        properties = node.get("properties") or {}
        assert isinstance(properties, dict)
        return [f"{where}.{key}" for key, value in properties.items() if not value.keys() & {"description", "$ref"}]

    text = json_schema.json_schema()
    parts = {"profile": text, **text["$defs"]}
    assert [key for name, part in parts.items() for key in undescribed(part, name)] == []


def test_what_the_image_bakes_lies_where_no_volume_may_be() -> None:
    assert f"/{HOME}" == schema.HOME


def test_rows_of_the_table() -> None:
    table = {row["name"]: row for row in rows()}
    assert table["h100-fp8"]["vram_gb"] == 640
    assert table["cpu"] == {
        "name": "cpu",
        "gpu": None,
        "count": 0,
        "vram_gb": 0,
        "precision": "fp32",
        "zero": 0,
        "base": "debian:bookworm",
        "locked": table["cpu"]["locked"],
        "description": load("cpu").description,
        "problem": None,
    }
    assert all(row["problem"] is None for row in table.values())


def test_one_broken_profile_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("extends: h100-fp8\n")
    (tmp_path / "bad.yaml").write_text("extends: h100-fp8\nprecision: mxfp8\n")
    bad, good = rows(tmp_path)
    assert "mxfp8 does not run on NVIDIA H100" in bad["problem"]
    assert good["problem"] is None


def test_profiles_import_nothing_heavy_and_nothing_of_the_other_rooms() -> None:
    """A task that only lists profiles must not pay for docker, rich, jinja2 or packaging."""
    code = (
        "import sys; from profiles.load import load; load('h100-fp8');"
        "print([m for m in ('docker', 'rich', 'jinja2', 'torch', 'packaging', 'images', 'fleet') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=PROFILES.parent, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_tables_are_whole() -> None:
    for key, gpu in gpus.table().items():
        assert key == gpu.key
        assert gpu.peak["bf16"] == gpu.peak["fp16"]
        assert ("fp8" in gpu.peak) == (gpu.compute_capability >= (8, 9)), key
        assert ("fp4" in gpu.peak) == (gpu.compute_capability >= (10, 0)), key
        assert 0.9 * gpu.memory_gb < gpu.memory_gib <= 1.03 * gpu.memory_gb, key
        assert gpu.geforce == ("GeForce" in gpu.name)
        assert gpu.peak_for("fp8-current") == gpu.peak.get("fp8")
        assert gpu.peak_for("nvfp4") == gpu.peak.get("fp4")
    assert gpus.gpu("h100-pcie").memory_mib == 81559
    for tag in bases.tags():
        facts = bases.base_facts(tag)
        assert facts.known
        assert facts.cuda.value, tag
        assert {fact.confidence for fact in facts.values.values()} <= {"seen", "recalled", "inferred", "proxy"}


def test_no_two_gpus_claim_one_provider_name_unless_memory_tells_them_apart() -> None:
    for provider in ("runpod", "vast", "hyperbolic"):
        named = [(getattr(gpu.providers, provider), gpu.memory_gb) for gpu in gpus.table().values()]
        named = [pair for pair in named if pair[0] is not None]
        assert len(named) == len(set(named))


def test_a_profile_does_not_change() -> None:
    profile = load("cpu")
    with pytest.raises(Exception, match="frozen"):
        Profile.__setattr__(profile, "precision", "bf16")
    assert profile.precision == "fp32"
