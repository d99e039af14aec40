"""diff: layers, settings, packages and files of two images, wherever they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from images.checks import files
from images.checks.diff import compare
from images.registry.errors import Missing
from profiles.errors import WrongInput
from tests.images.checks.conftest import Workshop


class TestTwoLocalImages:
    def test_the_same(self, workshop: Workshop):
        tag = workshop.image().plan.tag
        report = compare(workshop.bench, tag, tag)
        assert report["same"] is True
        assert report["change"] == 0
        assert report["layers"] == {"shared": {"count": 4, "size": report["a"]["size"]}}

    def test_a_changed_trainer_changes_one_layer_and_names_the_file(self, workshop: Workshop):
        first, second = workshop.image(), workshop.image(trainer="print('train longer')\n")
        report = compare(workshop.bench, first.plan.tag, second.plan.tag)
        assert report["layers"]["shared"]["count"] == 3
        [removed], [added] = report["layers"]["removed"], report["layers"]["added"]
        assert removed.split()[0] == added.split()[0] == "trainer"
        assert report["files"] == {"changed": {"opt/stoker/app/trainer/__main__.py": len(" longer")}}
        assert report["change"] == second.size - first.size
        assert "packages" not in report

    def test_no_layer_is_read_when_both_plans_are_here(self, workshop: Workshop):
        first, second = workshop.image(), workshop.image(trainer="print('two')\n", wheels={"demo": "1.1", "new": "3"})
        for image in (first, second):
            for layer in image.manifest.layers:
                workshop.store.layout.blob_path(layer.digest).unlink(missing_ok=True)
        report = compare(workshop.bench, first.plan.tag, second.plan.tag)
        assert report["packages"] == {"python demo": "1.0 -> 1.1", "python new": "+ 3"}

    def test_added_and_removed_files(self, workshop: Workshop):
        first = workshop.image(scripts={"opt/stoker/bin/old": "12"})
        second = workshop.image(scripts={"opt/stoker/bin/new": "123"})
        changes = compare(workshop.bench, first.plan.tag, second.plan.tag)["files"]
        assert changes == {"added": {"opt/stoker/bin/new": 3}, "removed": {"opt/stoker/bin/old": 2}}

    def test_settings(self, workshop: Workshop):
        first = workshop.image(env=(("A", "1"), ("B", "2")), ports=("22/tcp",))
        second = workshop.image(env=(("A", "3"), ("C", "4")), ports=("8888/tcp",), user="1000", cmd=("/x",))
        found = compare(workshop.bench, first.plan.tag, second.plan.tag)["settings"]
        assert found["env"] == {"A": "1 -> 3", "B": "- 2", "C": "+ 4"}
        assert found["ports"] == {"22/tcp": "- open", "8888/tcp": "+ open"}
        assert found["user"] == "none -> 1000"
        assert found["command"].endswith('-> ["/x"]')
        assert set(found["labels"]) == {"stoker.plan"}

    def test_sizes_are_numbers_in_json_and_words_for_people(self, workshop: Workshop):
        first, second = workshop.image(), workshop.image(trainer="print('two')\n" * 400)
        report = compare(workshop.bench, first.plan.tag, second.plan.tag)
        assert json.loads(json.dumps(report))["change"] == second.size - first.size
        assert str(report["change"]).startswith("+")


class TestImagesOfARegistry:
    def test_files_are_read_from_the_layers_and_packages_from_the_sbom(
        self, workshop: Workshop, other_workshop: Workshop
    ):
        first = workshop.push(wheels={"demo": "1.0", "gone": "5"})
        second = workshop.push(wheels={"demo": "2.0"}, trainer="print('two')\n")
        report = compare(other_workshop.bench, workshop.ref(first.plan.tag), workshop.ref(second.plan.tag))
        assert report["packages"] == {"python demo": "1.0 -> 2.0", "python gone": "- 5"}
        assert report["files"]["changed"] == {"opt/stoker/app/trainer/__main__.py": -2}
        assert "0 added, 0 removed, 1 changed" in report["files"]["python"]["demo"]
        assert "0 added, 1 removed" in report["files"]["python"]["gone"]
        assert report["layers"]["shared"]["count"] == 2  # the base's and the scripts
        assert "notes" not in report

    def test_without_sbom_the_layers_tell_the_packages(self, workshop: Workshop, other_workshop: Workshop):
        first, second = workshop.push(), workshop.push(wheels={"demo": "2.0"})
        bare = [workshop.altered(image, config=unmarked, tag=f"bare-{image.digest[7:19]}") for image in (first, second)]
        report = compare(other_workshop.bench, *bare)
        assert report["files"]["packages in these layers"] == {"python demo": "1.0 -> 2.0"}
        assert "neither plan nor SBOM" in report["notes"][0]

    def test_a_local_image_against_a_pushed_one(self, workshop: Workshop, other_workshop: Workshop):
        pushed = workshop.push()
        mine = other_workshop.image(trainer="print('two')\n")
        report = compare(other_workshop.bench, workshop.ref(pushed.plan.tag), mine.plan.tag)
        assert report["files"]["changed"] == {"opt/stoker/app/trainer/__main__.py": -2}
        assert "packages" not in report

    def test_a_large_remote_layer_is_not_fetched(
        self, workshop: Workshop, other_workshop: Workshop, monkeypatch: pytest.MonkeyPatch
    ):
        first, second = workshop.push(), workshop.push(trainer="print('two')\n")
        monkeypatch.setattr(files, "LIMIT", 10)
        report = compare(other_workshop.bench, workshop.ref(first.plan.tag), workshop.ref(second.plan.tag))
        assert "files" not in report
        assert len(report["notes"]) == 2 and "was not fetched" in report["notes"][0]

    def test_an_absent_image_is_told(self, workshop: Workshop):
        with pytest.raises(Missing):
            compare(workshop.bench, workshop.ref("never-pushed"), workshop.ref("neither"))


def unmarked(config: dict[str, Any]) -> None:
    """Another digest, with nothing else that a comparison would see."""
    config["author"] = "someone"


class TestNames:
    def test_the_beginning_of_a_tag_or_digest_is_enough(self, workshop: Workshop):
        image = workshop.image()
        for text in (image.plan.tag[:20], image.digest, image.digest[:20], image.digest[7:19]):
            assert compare(workshop.bench, text, image.plan.tag)["same"]

    def test_several_that_begin_alike_are_listed(self, workshop: Workshop):
        tags = sorted([workshop.image().plan.tag, workshop.image(trainer="print('two')\n").plan.tag])
        with pytest.raises(WrongInput, match=f"several.*{tags[0]}, {tags[1]}"):
            compare(workshop.bench, "cpu-0.1.0", tags[0])

    def test_a_tag_that_is_also_the_beginning_of_another_means_itself(self, workshop: Workshop):
        image = workshop.image()
        workshop.store.layout.put_manifest(image.manifest, image.plan.tag + "-copy")
        assert compare(workshop.bench, image.plan.tag, image.digest)["same"]

    @pytest.mark.parametrize("text", ["nothing", "", "sha256:" + "0" * 64])
    def test_an_unknown_name_never_asks_a_registry(self, workshop: Workshop, text: str):
        tag = workshop.image().plan.tag
        with pytest.raises(WrongInput) as told:
            compare(workshop.bench, text, tag)
        assert tag in told.value.next_step
