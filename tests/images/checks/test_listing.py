"""images: the rows of what was built here."""

from __future__ import annotations

import json

from images.checks.listing import listing
from tests.images.checks.conftest import Workshop


def test_nothing_built_gives_no_rows(workshop: Workshop):
    assert listing(workshop.store) == []


def test_a_row_says_what_the_image_is(workshop: Workshop):
    image = workshop.image()
    [row] = listing(workshop.store)
    base = image.manifest.layers[0]
    assert row.pop("built").startswith("20")
    assert row == {
        "tag": image.plan.tag,
        "profile": "cpu",
        "platform": "linux/amd64",
        "digest": image.digest[:19],
        "size": image.size,
        "own_size": image.size - base.size,
        "layers": 4,
        "base": "debian:bookworm",
        "dirty": False,
        "pushed": [],
    }


def test_a_pushed_image_names_its_repositories(workshop: Workshop):
    pushed = workshop.push()
    workshop.image(trainer="print('not pushed')\n")
    rows = {row["tag"]: row["pushed"] for row in listing(workshop.store)}
    assert rows.pop(pushed.plan.tag) == [f"{workshop.registry}/{workshop.name}"]
    assert list(rows.values()) == [[]]


def test_newest_first(workshop: Workshop):
    tags = [workshop.image(trainer=f"print({number})\n").plan.tag for number in range(3)]
    for day, tag in enumerate(tags):
        path = workshop.store.images / f"{tag}.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "built": f"2024-01-0{day + 1}T00:00:00Z"}))
    assert [row["tag"] for row in listing(workshop.store)] == tags[::-1]


def test_an_image_whose_manifest_is_gone_is_still_listed(workshop: Workshop):
    image = workshop.image()
    workshop.store.layout.remove(image.plan.tag)
    workshop.store.layout.blob_path(image.digest).unlink()
    [row] = listing(workshop.store)
    assert (row["tag"], row["size"], row["layers"]) == (image.plan.tag, None, None)


def test_damaged_rows_are_passed_over(workshop: Workshop):
    workshop.image()
    (workshop.store.images / "torn.json").write_text('{"tag": "to')
    (workshop.store.record / "torn.json").write_text("[]")
    assert len(listing(workshop.store)) == 1
