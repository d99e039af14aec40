"""Limits come from the cgroup, version 2 or 1, not from what the host has."""

from __future__ import annotations

import pytest

from trainer.machine import limits


@pytest.mark.parametrize(
    ("files", "cpus", "memory"),
    [
        ({"cpu.max": "250000 100000\n", "memory.max": "1073741824\n"}, 2.5, 1 << 30),
        ({"cpu.max": "max 100000\n", "memory.max": "max\n"}, None, None),
        (
            {
                "cpu/cpu.cfs_quota_us": "4600000\n",
                "cpu/cpu.cfs_period_us": "100000\n",
                "memory/memory.limit_in_bytes": "2048\n",
            },
            46.0,
            2048,
        ),
        (
            {
                "cpu/cpu.cfs_quota_us": "-1\n",
                "cpu/cpu.cfs_period_us": "100000\n",
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            None,
            None,
        ),
        ({"cpu.max": "", "memory.max": ""}, None, None),
        ({}, None, None),
    ],
    ids=["v2", "v2 unlimited", "v1", "v1 unlimited", "empty files", "no cgroup"],
)
def test_quota_and_memory(tmp_path, files, cpus, memory):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert limits.cpu_quota(tmp_path) == cpus
    assert limits.memory_limit(tmp_path) == memory


def test_the_report_knows_disk_and_ulimits_even_of_a_folder_not_made_yet(tmp_path):
    report = limits.report(tmp_path / "not" / "there")
    assert report["disk"]["free_bytes"] > 0 and report["cpus_allowed"] >= 1
    assert set(report["ulimits"]) == set(limits.ULIMITS)
