"""Room on the disk: asked of the system, told with numbers, made in time and never at the cost of what counts."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.checkpoint import retention, space

STEPS = st.lists(st.integers(0, 100), unique=True, min_size=1, max_size=12)


def test_free_is_what_the_system_gives_a_user_without_privileges(tmp_path):
    told = os.statvfs(tmp_path)
    free = space.free(tmp_path / "not" / "yet" / "there")
    assert free <= told.f_bfree * told.f_frsize
    assert abs(free - told.f_bavail * told.f_frsize) < 1 << 30


def test_what_fits_is_no_story(tmp_path):
    assert space.check(tmp_path, 1) is None


def test_what_does_not_fit_is_told_with_its_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(space, "free", lambda path: 10 * 10**9)
    assert space.check(tmp_path, 9 * 10**9, 10**9) is None
    said = space.check(tmp_path, 10 * 10**9, 2 * 10**9)
    assert said == (
        f"the next checkpoint needs 10.0 GB and 2.0 GB to spare, {tmp_path} has 10.0 GB free: 2.0 GB too little"
    )


def test_taken_counts_the_files_of_a_folder_and_of_the_folders_in_it(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(b"1234")
    (tmp_path / "inner" / "b").write_bytes(b"56")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert space.taken(tmp_path) == 6
    assert space.taken(tmp_path / "a") == 4
    assert space.taken(tmp_path / "gone") == 0


def test_the_oldest_make_way_and_no_more_than_needed():
    sizes = {10: 100, 20: 100, 30: 100, 40: 100}
    assert space.early([10, 20, 30, 40], sizes, needed=250, free=100, keep=2) == [10, 20]
    assert space.early([10, 20, 30, 40], sizes, needed=50, free=100, keep=2) == []


def test_nothing_goes_where_it_would_not_help():
    assert space.early([10, 20, 30], {10: 1, 20: 1, 30: 1}, needed=1000, free=0, keep=2) == []


def test_the_next_checkpoint_makes_one_of_the_kept_ones_expendable_now():
    sizes = {10: 100, 20: 100}
    assert retention.expendable([10, 20], 2, 0, ()) == []
    assert space.early([10, 20], sizes, needed=100, free=0, keep=2) == [10]
    assert space.early([10, 20], sizes, needed=100, free=0, keep=2, protect={10}) == []


def test_the_only_one_never_makes_way_for_one_that_is_not_there_yet():
    assert space.early([10], {10: 100}, needed=50, free=0, keep=1) == []


@given(STEPS, st.integers(0, 500), st.integers(0, 500), st.integers(1, 4), st.integers(0, 20), st.sets(st.integers()))
def test_what_makes_way_suffices_and_leaves_the_newest_and_the_protected(steps, needed, free, keep, every, protect):
    sizes = dict.fromkeys(steps, 40)
    going = space.early(steps, sizes, needed, free, keep, every, protect)
    assert max(steps) not in going and not protect & set(going)
    assert set(going) <= set(retention.expendable([*steps, 1000], keep, every, protect)) or keep == 1
    if going:
        assert free + 40 * len(going) >= needed > free + 40 * (len(going) - 1)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (3_400_000, "3.4 MB"),
        (999_960_000, "1.0 GB"),
        (7 * 10**15, "7.0 PB"),
    ],
)
def test_sizes_read_well(count, text):
    assert space.size(count) == text
