"""The lock: written whole or not at all, read back equal, and honest about what has changed since."""

from __future__ import annotations

import string
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from profiles import lock
from profiles.errors import OutsideFailed, WrongInput
from profiles.load import parse
from profiles.locations import LOCKS, lock_file
from profiles.lock import DebianBase, Lock, LockedWheel, RegistryBase, Sdist

HEX = st.text("0123456789abcdef", min_size=64, max_size=64)
DIGEST = HEX.map(lambda text: f"sha256:{text}")
WORD = st.text(string.ascii_letters + "äö\u2028", min_size=1, max_size=8)
FACTS = st.dictionaries(WORD, st.none() | WORD, max_size=3)
REGISTRY = st.builds(
    RegistryBase, name=WORD, index_digest=st.none() | DIGEST, digest=DIGEST, media_type=WORD, facts=FACTS,
    size=st.integers(0, 10**12),
)  # fmt: skip
DEBIAN = st.builds(
    DebianBase, name=WORD, suite=WORD, digest=DIGEST, diff_id=DIGEST, packages=st.dictionaries(WORD, WORD, max_size=3)
)
WHEEL = st.builds(
    LockedWheel, name=WORD, version=WORD, filename=WORD.map(lambda text: f"{text}.whl"), sha256=HEX,
    size=st.integers(0, 10**10), built_from_sdist=st.none() | st.builds(Sdist, filename=WORD, sha256=HEX),
)  # fmt: skip
PLATFORM = st.sampled_from(["linux/amd64", "linux/arm64"])
LOCKS_OF_ALL_KINDS = st.builds(
    Lock, profile=st.just("p"), locked_at=st.just("2026-11-20T00:00:00Z"), requirements_hash=HEX,
    bases=st.dictionaries(PLATFORM, REGISTRY | DEBIAN, min_size=1),
    wheels=st.dictionaries(PLATFORM, st.lists(WHEEL, max_size=3).map(tuple)),
)  # fmt: skip


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(LOCKS_OF_ALL_KINDS)
def test_what_is_written_is_read(tmp_path: Path, wanted: Lock) -> None:
    path = lock.write(wanted, tmp_path)
    assert lock.read("p", tmp_path) == wanted
    first = path.read_bytes()
    assert first.endswith(b"}\n")
    lock.write(Lock.model_validate_json(first), tmp_path)
    assert path.read_bytes() == first
    assert [left.name for left in tmp_path.iterdir()] == ["p.json"]


def cpu_lock(**changes: object) -> Lock:
    """A lock that fits the shipped cpu profile."""
    profile = parse("cpu")
    packages = dict.fromkeys((*profile.base.packages, "libc6"), "1")
    wheel = LockedWheel(name="torch", version="2.13.0", filename="torch-2.13.0-cp311-none-any.whl", sha256="b" * 64)
    whole = Lock(
        profile="cpu",
        locked_at="2026-11-20T00:00:00Z",
        bases={
            "linux/amd64": DebianBase(
                name="debian:bookworm",
                suite="bookworm",
                digest=f"sha256:{'1' * 64}",
                diff_id=f"sha256:{'2' * 64}",
                packages=packages,
            )
        },
        wheels={"linux/amd64": (wheel,)},
        requirements_hash=lock.requirements_hash(profile),
    )
    return whole.model_copy(update=changes)


def test_no_lock_is_none(tmp_path: Path) -> None:
    assert lock.read("cpu", tmp_path) is None


def test_the_folder_is_an_argument_or_a_variable_or_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STOKER_LOCKS", raising=False)
    assert lock_file("cpu") == LOCKS / "cpu.json"
    monkeypatch.setenv("STOKER_LOCKS", str(tmp_path / "variable"))
    assert lock.write(cpu_lock()) == tmp_path / "variable" / "cpu.json"
    assert lock.write(cpu_lock(), tmp_path / "argument") == tmp_path / "argument" / "cpu.json"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is no lock of this version"),
        ("{", "is no lock of this version"),
        ('{"schema": 99}', "is no lock of this version"),
        ('{"schema": 1, "profile": "cpu", "surprise": 1}', "is no lock of this version"),
    ],
)
def test_a_damaged_lock_is_said_so(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "cpu.json").write_text(content)
    with pytest.raises(WrongInput, match=said) as caught:
        lock.read("cpu", tmp_path)
    assert "inv lock --profile cpu" in caught.value.next_step


def test_a_digest_that_is_none_is_refused(tmp_path: Path) -> None:
    path = lock.write(cpu_lock(), tmp_path)
    path.write_text(path.read_text().replace("sha256:" + "1" * 64, "sha256:latest"))
    with pytest.raises(WrongInput, match=r"bases\.linux/amd64\.debian\.digest"):
        lock.read("cpu", tmp_path)


def test_the_lock_of_another_profile_is_refused(tmp_path: Path) -> None:
    lock.write(cpu_lock(), tmp_path).rename(tmp_path / "h100-fp8.json")
    with pytest.raises(WrongInput, match="is the lock of `cpu`"):
        lock.read("h100-fp8", tmp_path)


def test_a_profiles_name_cannot_leave_the_folder() -> None:
    with pytest.raises(ValueError, match="profile"):
        Lock.model_validate({**cpu_lock().model_dump(by_alias=True), "profile": "../x"})


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutsideFailed, match="cannot write"):
        lock.write(cpu_lock(), tmp_path / "file")


def test_readers_never_see_half_a_lock(tmp_path: Path) -> None:
    """While one thread writes again and again, every read gives one of the two locks."""
    two = [cpu_lock(), cpu_lock(locked_at="2026-11-21T00:00:00Z")]
    lock.write(two[0], tmp_path)
    stop = threading.Event()

    def writing() -> None:
        while not stop.is_set():
            for one in two:
                lock.write(one, tmp_path)

    writer = threading.Thread(target=writing)
    writer.start()
    try:
        assert all(lock.read("cpu", tmp_path) in two for _ in range(200))
    finally:
        stop.set()
        writer.join()


def test_a_fitting_lock_is_not_stale() -> None:
    assert lock.stale(parse("cpu"), cpu_lock()) == []


def test_the_order_of_requirements_changes_nothing() -> None:
    profile = parse("cpu")
    turned = profile.python.model_copy(update={"requirements": tuple(reversed(profile.python.requirements))})
    assert lock.stale(profile.model_copy(update={"python": turned}), cpu_lock()) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("python: {requirements: [torch==2.14.0]}", "the Python requirements or indexes have changed"),
        ("python: {indexes: []}", "the Python requirements or indexes have changed"),
        ("base: {debian: trixie}", "the base was debian:bookworm, and is debian:trixie now"),
        ("base: {packages: [python3, git]}", "the base's packages have changed: git not locked"),
        ("platforms: [linux/amd64, linux/arm64]", "linux/arm64 is not locked"),
    ],
)
def test_each_change_has_its_reason(tmp_path: Path, change: str, reason: str) -> None:
    (tmp_path / "mine.yaml").write_text(f"extends: cpu\n{change}\n")
    assert lock.stale(parse("mine", folder=tmp_path), cpu_lock()) == [reason]


def test_missing_wheels_are_a_reason() -> None:
    assert lock.stale(parse("cpu"), cpu_lock(wheels={})) == ["the wheels for linux/amd64 are not locked"]
