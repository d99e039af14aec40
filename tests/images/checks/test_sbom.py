"""sbom: what is listed, that it is valid CycloneDX, and that the same image always gives the same bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given
from hypothesis import strategies as st
from packageurl import PackageURL

from images.build import Resolved
from images.checks import bill, purl, sbom
from images.checks.licences import stated
from images.locks.wheels import Pin
from images.oci.digest import of_bytes
from images.plan import Base, Foundation
from tests.images.checks.conftest import CREATED, PACKAGES, Workshop, wheel_file

DIGEST = of_bytes(b"an image")


def made(resolved: Resolved, **changes: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"facts": {}, "packages": {}, "licence": {}, "sources": {}, **changes}
    value: dict[str, Any] = json.loads(bill.document(resolved.plan, DIGEST, **told))
    return value


def listed(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {component["name"]: component for component in document["components"]}


def told(component: dict[str, Any]) -> dict[str, str]:
    return {row["name"]: row["value"] for row in component["properties"]}


class TestDocument:
    def test_is_valid_by_the_strict_schema(self, workshop: Workshop):
        resolved = workshop.resolved(wheels={"demo": "1.0", "other": "2.0.post1"})
        plan = replace(resolved.plan, foundation=Foundation(("libaio-dev", "pdsh")))
        raw = bill.document(
            plan,
            DIGEST,
            facts={"cuda": "12.9.1", "torch": "2.8.0a0+34c6371d24.nv25.08"},
            packages=PACKAGES,
            licence={
                "demo-1.0-py3-none-any.whl": {"expression": "MIT OR Apache-2.0"},
                "other-2.0.post1-py3-none-any.whl": {"license": {"name": "as is"}},
            },
            sources={"demo-1.0-py3-none-any.whl": ("demo-1.0.tar.gz", "a" * 64)},
        )
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(raw.decode()) is None

    def test_lists_base_wheels_debian_packages_and_every_file_of_ours(self, workshop: Workshop):
        resolved = workshop.resolved()
        found = listed(made(resolved, packages=PACKAGES))
        assert set(found) == {"debian", "demo", *PACKAGES, "stoker-scripts", "stoker-trainer"}
        files = {
            one["name"]: one["hashes"][0]["content"]
            for name in ("stoker-scripts", "stoker-trainer")
            for one in found[name]["components"]
        }
        planned = {f"/{one.target}": one.sha256 for layer in resolved.plan.layers for one in layer.files}
        assert files == planned

    def test_wheels_carry_the_hash_of_the_lock(self, workshop: Workshop):
        resolved = workshop.resolved()
        [pin] = resolved.locked.pins
        found = listed(made(resolved, sources={pin.filename: ("demo-1.0.tar.gz", "b" * 64)}))["demo"]
        assert found["hashes"] == [{"alg": "SHA-256", "content": pin.sha256}]
        assert told(found)["stoker:built-from"] == "demo-1.0.tar.gz"

    def test_the_base_tells_its_facts(self, workshop: Workshop):
        found = listed(made(workshop.resolved(), facts={"cuda": "12.9.1"}))["debian"]
        assert told(found) == {"stoker:base:cuda": "12.9.1", "stoker:base:python": "3.11", "stoker:kind": "debian"}

    def test_a_registry_base_is_named_with_registry_tag_and_digest(self, workshop: Workshop):
        resolved = workshop.resolved()
        base = Base("nvcr.io/nvidia/pytorch:25.06-py3", DIGEST, "registry")
        found = listed(made(replace(resolved, plan=replace(resolved.plan, base=base))))["nvcr.io/nvidia/pytorch"]
        known = PackageURL.from_string(found["purl"])
        assert (known.type, known.name, known.version) == ("oci", "pytorch", DIGEST)
        assert known.qualifiers == {"repository_url": "nvcr.io/nvidia/pytorch", "tag": "25.06-py3", "arch": "amd64"}

    def test_time_and_serial_number_come_from_the_image(self, workshop: Workshop):
        document = made(workshop.resolved())
        assert document["metadata"]["timestamp"] == CREATED
        assert document["serialNumber"] == bill.serial_number(DIGEST) != bill.serial_number(of_bytes(b"another"))

    def test_a_base_without_a_tag_keeps_its_port(self, workshop: Workshop):
        resolved = workshop.resolved()
        base = Base("127.0.0.1:5000/base", DIGEST, "registry")
        assert "127.0.0.1:5000/base" in listed(made(replace(resolved, plan=replace(resolved.plan, base=base))))


class TestSameBytes:
    def test_on_two_machines(self, workshop: Workshop, other_workshop: Workshop):
        first, second = workshop.resolved(), other_workshop.resolved()
        images = workshop.image(first), other_workshop.image(second)
        assert images[0].digest == images[1].digest
        assert sbom.sbom_of(images[0], first) == sbom.sbom_of(images[1], second)

    def test_with_and_without_the_wheels_at_hand(self, workshop: Workshop):
        resolved = workshop.resolved()
        image = workshop.image(resolved)
        first = sbom.sbom_of(image, resolved)
        resolved.fetch_wheels()["demo-1.0-py3-none-any.whl"].unlink()  # what was read is remembered
        assert sbom.sbom_of(image, resolved) == first
        assert listed(json.loads(first))["demo"]["licenses"] == [{"expression": "MIT"}]

    def test_whatever_order_packages_and_facts_come_in(self, workshop: Workshop):
        resolved = workshop.resolved()
        facts = {"cuda": "12.9", "torch": "2.8"}
        backwards = dict(reversed(PACKAGES.items())), dict(reversed(facts.items()))
        one = made(resolved, packages=PACKAGES, facts=facts)
        assert one == made(resolved, packages=backwards[0], facts=backwards[1])

    def test_debian_packages_are_those_of_the_base_in_use(self, workshop: Workshop):
        resolved = workshop.resolved()
        drifted = replace(resolved, locked=replace(resolved.locked, digest=DIGEST, packages={"libc6": "1.0"}))
        assert bill.debian_packages(drifted) == PACKAGES
        assert bill.debian_packages(resolved) == PACKAGES


class TestAttached:
    def test_as_a_referrer_of_the_image(self, workshop: Workshop):
        image = workshop.push()
        target = workshop.repository()
        [listed] = target.referrers(image.digest)
        manifest = target.manifest(listed.digest)
        assert manifest.json["artifactType"] == "application/vnd.cyclonedx+json"
        assert manifest.json["subject"]["digest"] == image.digest
        assert manifest.config.media_type == "application/vnd.oci.empty.v1+json"
        assert target.blob(manifest.config) == b"{}"
        assert manifest.json["annotations"]["org.opencontainers.image.created"] == CREATED
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(target.blob(manifest.layers[0]).decode()) is None

    def test_once_however_often_it_is_pushed(self, workshop: Workshop, other_workshop: Workshop):
        image = workshop.push()
        workshop.push()
        other_workshop.push()
        assert len(workshop.repository().referrers(image.digest)) == 1

    def test_to_docker_manifests_too(self, workshop: Workshop):
        # Their family knows no subject, but a referrer may point at anything.
        image = workshop.push()
        target = workshop.repository()
        plain = replace(image.manifest.descriptor, media_type="application/vnd.docker.distribution.manifest.v2+json")
        digest = sbom.attach(target, plain, sbom.sbom_of(image, workshop.resolved()))
        assert target.manifest(digest).json["subject"]["mediaType"] == plain.media_type


class TestLicences:
    @pytest.mark.parametrize(
        ("metadata", "licence"),
        [
            ("License-Expression: MIT OR Apache-2.0\nLicense: old words\n", {"expression": "MIT OR Apache-2.0"}),
            ("License: BSD-3-Clause\n", {"license": {"name": "BSD-3-Clause"}}),
            (
                "License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n",
                {"license": {"name": "MIT License"}},
            ),
            (
                "License: " + "a very long text " * 20 + "\nClassifier: License :: OSI Approved\n",
                {"license": {"name": "OSI Approved"}},
            ),
            ("", {}),
        ],
    )
    def test_as_the_wheel_states_it(self, tmp_path: Path, metadata: str, licence: dict[str, Any]):
        assert stated(wheel_file(tmp_path, "demo", "1.0", metadata)) == licence

    def test_a_file_that_is_no_wheel_states_none(self, tmp_path: Path):
        (tmp_path / "x.whl").write_bytes(b"not a zip")
        assert stated(tmp_path / "x.whl") == {}

    def test_pins_without_licence_have_no_such_field(self, workshop: Workshop):
        assert "licenses" not in listed(made(workshop.resolved()))["demo"]
        assert Pin("x", "1", "x-1-py3-none-any.whl", "0" * 64, 1).sdist is None


class TestPackageUrls:
    versions = st.text(alphabet="abcXYZ0123456789.+-~:!_", min_size=1, max_size=20)
    names = st.from_regex(r"[a-z0-9][a-z0-9.+-]{0,15}", fullmatch=True)

    @given(names, versions)
    def test_are_what_the_reference_library_writes(self, name: str, version: str):
        python = purl.pypi(name.replace("+", "_"), version)  # no Python name has a plus
        for text in (purl.debian(name, version, arch="amd64", distro="bookworm"), python):
            assert PackageURL.from_string(text).to_string() == text
            assert PackageURL.from_string(text).version == version
