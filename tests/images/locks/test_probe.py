"""What a base's config tells, and what it does not."""

from __future__ import annotations

import pytest

from images.locks.probe import facts_of, probe, python_minor
from images.registry.registries import Registries
from profiles.errors import CheckFailed, OutsideFailed
from tests.sim.ngc import env, push_ngc


def test_facts_come_from_the_environment_of_the_config():
    facts = facts_of({"config": {"Env": env("25.06")}})
    assert facts["cuda"] == "12.9.1.010"
    assert facts["torch"] == "2.8.0a0+5228986"  # never NVIDIA_PYTORCH_VERSION: that is the container's month
    assert facts["container"] == "25.06"
    assert facts["python"] == "3.12"


def test_what_is_not_there_is_left_out():
    assert facts_of({"config": {"Env": ["PATH=/usr/bin"]}}) == {}
    assert facts_of({"config": None}) == {}


def test_an_unknown_python_is_not_guessed():
    with pytest.raises(CheckFailed, match="which Python"):
        python_minor({}, None)
    assert python_minor({}, "3.12.3") == "3.12"
    assert python_minor({"python": "3.10.12"}, "3.12") == "3.10"


class TestProbe:
    def test_a_platform_is_pinned_by_its_own_manifest(self, registry: str):
        repository = Registries().repository(f"{registry}/probe/pytorch:x")
        pushed = push_ngc(repository, "24.10")
        for platform in ("linux/amd64", "linux/arm64"):
            found = probe(repository, "24.10-py3", platform)
            assert found.digest == pushed.children[platform].digest
            assert found.index_digest == pushed.index.digest
            assert found.facts["transformer_engine"] == "1.11"
            assert found.size == sum(layer.size for layer in pushed.children[platform].layers)

    def test_a_platform_it_does_not_have(self, registry: str):
        repository = Registries().repository(f"{registry}/probe2/pytorch:x")
        push_ngc(repository, "24.10")
        with pytest.raises(OutsideFailed, match="it has linux/amd64, linux/arm64"):
            probe(repository, "24.10-py3", "linux/ppc64le")
