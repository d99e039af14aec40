"""verify: a good image passes; each way to be wrong is noticed by its own check."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from images.checks.report import Report
from images.checks.verify import verify_image
from images.oci import media
from images.oci.digest import of_bytes
from images.oci.manifest import Descriptor, build, canonical
from images.plan import BIN
from images.registry.errors import Missing
from tests.images.checks.conftest import COMMIT, CREATED, PROGRAM, Shelf, Workshop

LABEL = "org.opencontainers.image."


def failed(report: Report) -> dict[str, str]:
    """check -> detail of those that failed."""
    return {one.check: one.detail for one in report.checks if one.ok is False}


def labels(**changes: str | None) -> Callable[[dict[str, Any]], None]:
    """A change of labels; None removes one."""

    def change(config: dict[str, Any]) -> None:
        for name, value in changes.items():
            name = name.replace("__", ".")
            config["config"]["Labels"].pop(name)
            if value is not None:
                config["config"]["Labels"][name] = value

    return change


def settings(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: config["config"].update(changes)


def foreign_history(config: dict[str, Any]) -> None:
    for item in config["history"]:
        item.update(comment="buildkit.dockerfile.v0", created_by="COPY . .")
    config["created"] = "2025-01-01T00:00:00Z"  # the engine's clock


class TestAGoodImage:
    @pytest.mark.parametrize("compression", ["gzip", "zstd"])
    def test_passes_every_check(self, workshop: Workshop, compression: str):
        image = workshop.push(compression=compression)
        report = verify_image(workshop.bench, workshop.ref(image.plan.tag))
        assert failed(report) == {}
        assert report.ok
        assert report.digest == image.digest
        names = "manifest, media types, config, history, labels, created, entrypoint, blobs, diff_ids, paths, secrets, "
        assert [one.check for one in report.checks] == [*(names + "workdir, size budget, sbom").split(", ")]

    def test_passes_on_a_machine_that_never_built_it(self, workshop: Workshop, other_workshop: Workshop):
        image = workshop.push(entrypoint=("/base/entry.sh",))
        report = verify_image(other_workshop.bench, workshop.ref(image.plan.tag), deep=True)
        assert failed(report) == {}

    def test_can_be_named_by_digest(self, workshop: Workshop):
        image = workshop.push()
        assert verify_image(workshop.bench, f"{workshop.registry}/{workshop.name}@{image.digest}").ok

    def test_reads_our_layers_and_only_asks_for_the_base(self, workshop: Workshop):
        image = workshop.push()
        report = verify_image(workshop.bench, workshop.ref(image.plan.tag))
        [blobs] = [one.detail for one in report.checks if one.check == "blobs"]
        assert blobs.startswith("3 read") and blobs.endswith("1 of the base asked for")

    def test_every_image_of_an_index_is_checked(self, workshop: Workshop):
        image = workshop.push()
        child = {**image.manifest.descriptor.to_json(), "platform": {"os": "linux", "architecture": "amd64"}}
        value = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [child]}
        report = verify_image(workshop.bench, workshop.put("all", build(value)))
        assert report.ok
        assert "linux/amd64: sbom" in [one.check for one in report.checks]
        broken = {**child, "platform": {"os": "linux", "architecture": "arm64"}, "mediaType": media.OCI_MANIFEST}
        value["manifests"] = [child, {**broken, "platform": child["platform"]}]
        assert "two images" in failed(verify_image(workshop.bench, workshop.put("twice", build(value))))["index"]

    def test_without_our_history_the_base_tells_which_layers_are_ours(self, workshop: Workshop):
        image = workshop.push()
        ref = workshop.altered(image, config=foreign_history, tag="built-by-another-tool")
        report = verify_image(workshop.bench, ref)
        assert {one.check for one in report.checks if one.ok is not True} == {"sbom"}
        [blobs] = [one.detail for one in report.checks if one.check == "blobs"]
        assert blobs.startswith("3 read")

    def test_without_both_everything_is_read_and_that_is_said(self, workshop: Workshop, other_workshop: Workshop):
        image = workshop.push()
        ref = workshop.altered(image, config=foreign_history, tag="built-by-another-tool")
        found = {one.check: one for one in verify_image(other_workshop.bench, ref).checks}
        assert found["own layers"].ok is None
        assert found["blobs"].detail.startswith("4 read")
        assert not {"paths", "diff_ids"} & set(found)  # not looked at, so not said to be good
        assert "only" in found["secrets"].detail

    def test_buildkits_history_tells_our_layers_by_what_was_copied(self, workshop: Workshop, other_workshop: Workshop):
        image = workshop.push()

        def copied(config: dict[str, Any]) -> None:
            foreign_history(config)
            for item, name in zip(config["history"][1:], ("wheels", "scripts", "trainer"), strict=True):
                item["created_by"] = f"COPY --link layers/{name}/opt/stoker/ /opt/stoker/ # buildkit"

        ref = workshop.altered(image, config=copied, tag="built-by-buildkit")
        report = verify_image(other_workshop.bench, ref)
        assert {one.check for one in report.checks if one.ok is not True} == {"sbom"}
        [blobs] = [one.detail for one in report.checks if one.check == "blobs"]
        assert blobs.startswith("3 read")

    def test_a_reference_to_nothing_is_wrong_input(self, workshop: Workshop):
        with pytest.raises(Missing):
            verify_image(workshop.bench, workshop.ref("never-pushed"))


class TestBytes:
    def test_a_layer_that_was_changed_on_the_registrys_disk(self, workshop: Workshop, shelf: Shelf):
        image = workshop.push(trainer="print('will be tampered with')\n")
        layer = image.manifest.layers[-1]
        path = shelf.blob(layer.digest)
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
        assert "trainer" in failed(verify_image(workshop.bench, workshop.ref(image.plan.tag)))["blobs"]

    def test_a_base_layer_that_is_gone(self, workshop: Workshop, shelf: Shelf):
        image = workshop.push(entrypoint=("/gone",))
        base = image.manifest.layers[0]
        kept = shelf.blob(base.digest).read_bytes()
        shelf.blob(base.digest).unlink()
        try:
            found = failed(verify_image(workshop.bench, workshop.ref(image.plan.tag)))["blobs"]
        finally:
            shelf.blob(base.digest).write_bytes(kept)  # other tests share the base
        assert "the base's layer" in found

    def test_a_base_layer_of_another_length(self, workshop: Workshop):
        image = workshop.push()

        def longer(manifest: dict[str, Any]) -> None:
            manifest["layers"][0]["size"] += 1

        found = failed(verify_image(workshop.bench, workshop.altered(image, manifest=longer)))
        assert "bytes in the registry" in found["blobs"]

    def test_a_changed_base_layer_is_found_by_a_deep_look_only(self, workshop: Workshop, shelf: Shelf):
        image = workshop.push()
        path = shelf.blob(image.manifest.layers[0].digest)
        kept = path.read_bytes()
        path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        try:
            ref = workshop.ref(image.plan.tag)
            assert verify_image(workshop.bench, ref).ok
            assert "blobs" in failed(verify_image(workshop.bench, ref, deep=True))
        finally:
            path.write_bytes(kept)

    def test_a_layer_that_is_not_what_the_config_says(self, workshop: Workshop):
        image = workshop.push()

        def other(config: dict[str, Any]) -> None:
            config["rootfs"]["diff_ids"][-1] = "sha256:" + "0" * 64

        found = failed(verify_image(workshop.bench, workshop.altered(image, config=other)))
        assert "trainer unpacks to" in found["diff_ids"]

    def test_a_layer_that_cannot_be_unpacked(self, workshop: Workshop):
        image = workshop.push()
        junk = b"\x1f\x8bno gzip at all" * 9
        layer = Descriptor(media.OCI.gzip_layer, of_bytes(junk), len(junk))
        raw = image.config
        ref = workshop.put(
            image.plan.tag,
            build({**image.manifest.json, "layers": [*image.manifest.json["layers"][:-1], layer.to_json()]}),
            (junk, layer),
            (raw, image.manifest.config),
        )
        assert "decompressed" in failed(verify_image(workshop.bench, ref))["blobs"]

    def test_a_manifest_that_is_not_its_digest(self, workshop: Workshop, shelf: Shelf):
        image = workshop.push(trainer="print('manifest to be changed')\n")
        path = shelf.blob(image.digest)
        path.write_bytes(path.read_bytes().replace(b'"schemaVersion":2', b'"schemaVersion": 2'))
        report = verify_image(workshop.bench, workshop.ref(image.plan.tag))
        assert not report.ok
        assert list(failed(report)) == ["manifest"]


class TestManifestAndConfig:
    def test_types_of_two_families(self, workshop: Workshop):
        image = workshop.push()

        def mixed(manifest: dict[str, Any]) -> None:
            manifest["layers"][-1]["mediaType"] = media.DOCKER.gzip_layer

        found = failed(verify_image(workshop.bench, workshop.altered(image, manifest=mixed)))
        assert media.DOCKER.gzip_layer in found["media types"]

    def test_a_history_of_another_length(self, workshop: Workshop):
        image = workshop.push()
        ref = workshop.altered(image, config=lambda config: config["history"].insert(0, {"created_by": "more"}))
        assert "5 entries of history" in failed(verify_image(workshop.bench, ref))["history"]

    def test_too_few_diff_ids(self, workshop: Workshop):
        image = workshop.push()
        ref = workshop.altered(image, config=lambda config: config["rootfs"]["diff_ids"].pop())
        assert "3 diff_ids" in failed(verify_image(workshop.bench, ref))["history"]

    def test_a_config_that_is_none(self, workshop: Workshop):
        image = workshop.push()
        raw = b"[1]"
        descriptor = Descriptor(media.OCI_CONFIG, of_bytes(raw), len(raw))
        value = build({**image.manifest.json, "config": descriptor.to_json()})
        ref = workshop.put(image.plan.tag, value, (raw, descriptor))
        assert "not a JSON object" in failed(verify_image(workshop.bench, ref))["config"]

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (labels(stoker__plan="f" * 64), "the tag says plan"),
            (labels(stoker__profile="h100-fp8"), "the tag says profile"),
            (labels(stoker__gpu=None), "no label stoker.gpu"),
            (labels(org__opencontainers__image__version="9.9"), "the tag says version"),
            (labels(org__opencontainers__image__revision="d" * 40), "the tag says commit"),
            (labels(org__opencontainers__image__revision=COMMIT + "-dirty"), "whether the checkout was dirty"),
            (labels(org__opencontainers__image__title="else"), "annotation"),
        ],
    )
    def test_labels_that_contradict_the_tag_or_the_annotations(
        self, workshop: Workshop, change: Callable[[dict[str, Any]], None], said: str
    ):
        image = workshop.push()
        assert said in failed(verify_image(workshop.bench, workshop.altered(image, config=change)))["labels"]

    def test_an_image_under_anothers_tag(self, workshop: Workshop):
        first, second = workshop.push(), workshop.push(trainer="print('two')\n")
        ref = workshop.put(first.plan.tag, second.manifest)
        assert "the tag says plan" in failed(verify_image(workshop.bench, ref))["labels"]

    def test_a_time_that_is_not_the_commits(self, workshop: Workshop):
        image = workshop.push()
        ref = workshop.altered(image, config=lambda config: config.update(created="2025-01-01T00:00:00Z"))
        assert "2025-01-01" in failed(verify_image(workshop.bench, ref))["created"]

    def test_a_commit_this_checkout_knows_to_be_of_another_time(self, workshop: Workshop):
        root = Path(__file__).resolve().parents[3]
        image = workshop.push()
        from images.checkout import read

        commit = read(root).commit
        ref = workshop.altered(image, config=labels(org__opencontainers__image__revision=commit), tag="other")
        report = verify_image(replace(workshop.bench, root=root), ref)
        assert "the commit is of" in failed(report)["created"]
        assert CREATED in failed(report)["created"]

    def test_an_entrypoint_that_is_not_ours(self, workshop: Workshop):
        image = workshop.push()
        ref = workshop.altered(image, config=settings(Entrypoint=["/bin/sh"]))
        assert "/bin/sh" in failed(verify_image(workshop.bench, ref))["entrypoint"]

    def test_the_bases_entrypoint_left_out(self, workshop: Workshop):
        image = workshop.push(entrypoint=("/opt/nvidia/nvidia_entrypoint.sh",))
        ref = workshop.altered(image, config=settings(Entrypoint=[f"/{BIN}/entrypoint"]))
        assert "nvidia_entrypoint" in failed(verify_image(workshop.bench, ref))["entrypoint"]

    def test_the_bases_entrypoint_is_told_by_the_history_where_the_base_is_not_here(
        self, workshop: Workshop, other_workshop: Workshop
    ):
        image = workshop.push()

        def told(config: dict[str, Any]) -> None:
            config["history"][0]["created_by"] = 'ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh"]'

        found = failed(verify_image(other_workshop.bench, workshop.altered(image, config=told)))
        assert "nvidia_entrypoint" in found["entrypoint"]

    def test_our_own_entrypoint_in_buildkits_history_is_not_the_bases(
        self, workshop: Workshop, other_workshop: Workshop
    ):
        image = workshop.push()

        def noted(config: dict[str, Any]) -> None:
            config["history"][-1]["created_by"] = f'ENTRYPOINT ["/{BIN}/entrypoint"]'

        assert "entrypoint" not in failed(verify_image(other_workshop.bench, workshop.altered(image, config=noted)))

    @pytest.mark.parametrize("workdir", ["/workspace", "/workspace/run", "/proc", "/data/x"])
    def test_a_working_directory_that_a_mount_hides(self, workshop: Workshop, workdir: str):
        image = workshop.push()
        change = settings(WorkingDir=workdir, Volumes={"/data": {}})
        found = failed(verify_image(workshop.bench, workshop.altered(image, config=change)))
        assert "hidden by the volume" in found["workdir"]

    def test_a_volume_of_the_profile_over_our_files(self, workshop: Workshop):
        image = workshop.push(scripts={"opt/stoker/profile.json": json.dumps({"volume": "/opt/stoker"})})
        found = failed(verify_image(workshop.bench, workshop.ref(image.plan.tag)))
        assert "/opt/stoker is hidden" in found["workdir"]


class TestContent:
    @pytest.mark.parametrize(
        ("files", "said"),
        [
            ({"workspace/data.txt": b"x"}, "/workspace"),
            ({"bin": None, "bin/tool": b"x"}, "/bin is a symbolic link"),
            ({"lib64": None}, "/lib64"),
            ({"opt/.wh.stoker": b""}, "deletion"),
            ({"../outside": b"x"}, "'..' part"),
        ],
    )
    def test_entries_that_must_not_be(self, workshop: Workshop, files: dict[str, bytes | None], said: str):
        ref = workshop.with_layer(workshop.push(), files)
        assert said in failed(verify_image(workshop.bench, ref))["paths"]

    @pytest.mark.parametrize("fields", [{"uid": 1000}, {"mode": 0o4755}, {"type": b"3"}])
    def test_owners_modes_and_kinds_that_we_never_write(self, workshop: Workshop, fields: dict[str, Any]):
        ref = workshop.with_layer(workshop.push(), {"opt/stoker/more": b""}, **fields)
        assert "opt/stoker/more" in failed(verify_image(workshop.bench, ref))["paths"]

    def test_a_foundation_may_hold_what_apt_makes_but_no_folder_over_a_link(self, workshop: Workshop):
        image = workshop.push()
        apt = {"usr": None, "usr/bin": None, "usr/bin/tool": b"x", "var/lib/.wh.old": b""}
        assert "paths" not in failed(
            verify_image(workshop.bench, workshop.with_layer(image, apt, "foundation", uid=33, mode=0o2755))
        )
        ref = workshop.with_layer(image, {"lib": None}, "foundation")
        assert "/lib" in failed(verify_image(workshop.bench, ref))["paths"]

    def test_a_program_that_is_started_but_not_there(self, workshop: Workshop):
        image = workshop.push(cmd=(f"/{BIN}/forgotten",))
        found = failed(verify_image(workshop.bench, workshop.ref(image.plan.tag)))
        assert f"/{BIN}/forgotten" in found["paths"]

    def test_a_key_in_a_file(self, workshop: Workshop):
        key = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bD1fG3h"
        ref = workshop.with_layer(workshop.push(), {"opt/stoker/settings.py": f"TOKEN = '{key}'\n".encode()})
        found = failed(verify_image(workshop.bench, ref))["secrets"]
        assert "opt/stoker/settings.py:1" in found
        assert key not in found

    @pytest.mark.parametrize("path", ["opt/stoker/.env", "opt/stoker/site/demo/id_rsa"])
    def test_a_file_whose_name_tells(self, workshop: Workshop, path: str):
        ref = workshop.with_layer(workshop.push(), {path: b"x"})
        assert path in failed(verify_image(workshop.bench, ref))["secrets"]

    @pytest.mark.parametrize("place", ["Env", "Labels", "history", "annotations"])
    def test_a_key_in_what_the_image_says(self, workshop: Workshop, place: str):
        image, key = workshop.push(), "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bD1fG3h"

        def config(value: dict[str, Any]) -> None:
            if place == "Env":
                value["config"]["Env"].append(f"HF_TOKEN={key}")
            elif place == "Labels":
                value["config"]["Labels"]["note"] = key
            elif place == "history":
                value["history"][1]["created_by"] += f" --token {key}"

        def manifest(value: dict[str, Any]) -> None:
            if place == "annotations":
                value["annotations"]["note"] = key

        found = failed(verify_image(workshop.bench, workshop.altered(image, config=config, manifest=manifest)))
        assert key not in found["secrets"]

    def test_more_than_the_budget(self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch):
        from images.checks import verify

        small = replace_budget(workshop, 0)
        monkeypatch.setattr(verify, "profile_of", lambda name: small)
        image = workshop.push(scripts={f"{BIN}/smoke": PROGRAM})
        assert "weigh" in failed(verify_image(workshop.bench, workshop.ref(image.plan.tag)))["size budget"]


def replace_budget(workshop: Workshop, megabytes: int) -> Any:
    return workshop.resolved().profile.model_copy(update={"size_budget_mb": megabytes})


class TestSbom:
    def test_none(self, workshop: Workshop):
        image = workshop.push()
        bare = workshop.altered(image, config=labels(org__opencontainers__image__title="stoker-cpu "))
        assert "none is attached" in failed(verify_image(workshop.bench, bare))["sbom"]

    def test_of_another_image(self, workshop: Workshop):
        from images.checks import sbom

        first, second = workshop.push(), workshop.image(trainer="print('two')\n")
        target = workshop.repository()
        from images.registry.push import push_image

        push_image(second, target, [second.plan.tag])
        [document] = sbom.read_all(target, first.digest)
        sbom.attach(target, second.manifest.descriptor, canonical(document))
        assert "another digest" in failed(verify_image(workshop.bench, workshop.ref(second.plan.tag)))["sbom"]

    def test_that_names_another_plan(self, workshop: Workshop):
        image = workshop.push()
        from images.checks import sbom

        target = workshop.repository()
        [document] = sbom.read_all(target, image.digest)
        for row in document["metadata"]["component"]["properties"]:
            row["value"] = "0" * 64
        sbom.attach(target, image.manifest.descriptor, canonical(document))
        assert "another image or plan" in failed(verify_image(workshop.bench, workshop.ref(image.plan.tag)))["sbom"]

    def test_that_was_deleted_from_under_its_list(self, workshop: Workshop):
        from images.checks import sbom

        image = workshop.push()
        target = workshop.repository().for_push()
        [listed] = target.referrers(image.digest, sbom.ARTIFACT)
        target.delete_manifest(listed.digest)
        assert "not there" in failed(verify_image(workshop.bench, workshop.ref(image.plan.tag)))["sbom"]
