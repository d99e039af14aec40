"""What a machine says of itself, judged."""

from __future__ import annotations

from fleet.providers.hosts.expect import GB, Wanted, judged, missing

FACTS = {
    "gpu.0": "NVIDIA H100 80GB HBM3, 81559, 535.183.06",
    "cuda": "12.10",
    "engine": "27",
    "docker": "yes",
    "toolkit": "yes",
    "disk.free": str(int(100 * GB) // 1024 + 1),
    "disk.on": "/",
    "volume.free": str(int(100 * GB) // 1024 + 1),
    "volume.on": "/",
}


def verdict(name: str, wanted: Wanted, **changed: str) -> bool | None:
    return {row.name: row.ok for row in judged({**FACTS, **changed}, wanted)}[name]


def test_versions_are_numbers_and_not_text():
    assert verdict("driver", Wanted((), 1, "12.9")) is True
    assert verdict("driver", Wanted((), 1, "13.0")) is False


def test_one_disk_has_to_hold_image_and_volume_together():
    assert verdict("disk", Wanted((), 1, disk_gb=60, volume_gb=50)) is False
    assert verdict("disk", Wanted((), 1, disk_gb=60, volume_gb=50), **{"volume.on": "/data"}) is True
    assert verdict("disk", Wanted((), 1, disk_gb=60, volume_gb=50), image="yes") is True


def test_only_what_we_know_how_to_install_counts_as_missing():
    bare = {"docker": "no", "toolkit": "no", "like": "ubuntu debian"}
    assert missing({}) == ["docker"] and missing(FACTS) == []
    assert missing(bare) == ["docker", "toolkit", "runtime"]
    assert verdict("Docker", Wanted((), 1), **bare) is True
    assert verdict("Docker", Wanted((), 1), **{**bare, "like": "fedora"}) is False
