"""The environment file: threads from the quota, what login shells miss, and never a secret."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainer.machine import shell

LIMITS = {"cpus_allowed": 384, "cpu_quota": 46.0, "shm_bytes": 16 << 30}
EIGHT = {"gpu": {"count": 8, "type": "H100"}}


@pytest.mark.parametrize(
    ("profile", "quota", "threads"),
    [({}, 46.0, 46), (EIGHT, 46.0, 5), (EIGHT, None, 48), ({}, 0.5, 1), (EIGHT, 2.0, 1)],
)
def test_threads_follow_the_quota_and_are_shared_by_the_ranks(profile, quota, threads):
    assert shell.threads(profile, {**LIMITS, "cpu_quota": quota}) == threads


def test_what_the_user_set_stays():
    found = shell.lines({}, LIMITS, {"OMP_NUM_THREADS": "3"})
    assert "export OMP_NUM_THREADS=3" in found and "export MKL_NUM_THREADS=46" in found


def test_small_shared_memory_is_worked_around_for_several_gpus_only():
    small = {**LIMITS, "shm_bytes": 64 << 20}
    assert "export NCCL_SHM_DISABLE=1" in shell.lines(EIGHT, small, {})
    assert "64 MB" in shell.shared_memory_warning(EIGHT, small)
    assert shell.shared_memory({"gpu": {"count": 1}}, small) == shell.shared_memory(EIGHT, LIMITS) == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STOKER_API_KEY", "x"),
        ("HF_TOKEN", "hf_abcdefghijkl"),
        ("NCCL_SECRET", "x"),
        ("PIP_INDEX_URL", "https://user:pw@host/simple"),
        ("PIP_INDEX_URL", "https://token@host/simple"),
        ("STOKER_REMOTE", "hf_abcdefghijkl"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("HOME", "/root"),
    ],
)
def test_secrets_and_strangers_stay_out(name, value):
    assert not any(name in line for line in shell.lines({}, LIMITS, {name: value}))


@example('it\'s $HOME `id` "x" \\ \n;rm')
@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=40))
def test_a_shell_reads_back_every_value_as_it_was(value):
    if not shell.fit_for_all("NCCL_X", value):
        return
    (line,) = [text for text in shell.lines({}, LIMITS, {"NCCL_X": value}) if "NCCL_X" in text]
    script = line + '\nprintf "%s" "$NCCL_X"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, env={})
    assert done.stdout.decode() == value


def test_the_containers_environment_wins_over_a_login_sessions(tmp_path, monkeypatch):
    (tmp_path / "environ").write_bytes(b"PATH=/opt/base/bin\0LD_LIBRARY_PATH=/usr/local/cuda/compat/lib\0")
    monkeypatch.setenv("STOKER_INIT_ENVIRON", str(tmp_path / "environ"))
    monkeypatch.setenv("PATH", "/usr/bin")
    found = shell.container_environment()
    assert found["PATH"] == "/opt/base/bin" and found["LD_LIBRARY_PATH"].endswith("compat/lib")
