"""Deleting from the Hub: the space comes back, and nothing that anybody names is lost."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sim.hub_model import NUMBERS
from tests.trainer.stores.hub_place import REPOSITORY, weights
from tests.trainer.stores.specification import item, noise, still, whole
from trainer.stores.hub import Hub
from trainer.stores.store import StoreError


def test_deleting_frees_the_space_and_keeps_every_commit(store, server, api):
    for step in ("10", "20"):
        store.put([weights(int(step), f"checkpoints/step-{step}/weights.safetensors")], still)
        store.put([item(f"checkpoints/step-{step}/manifest.json", b'{"step": %s}' % step.encode())], still)
    before = [commit.commit_id for commit in api.list_repo_commits(REPOSITORY)]
    assert server.repository(REPOSITORY).used() == 400_000
    names = ["checkpoints/step-10/manifest.json", "checkpoints/step-10/weights.safetensors"]
    store.delete(names)
    assert server.repository(REPOSITORY).used() == 200_000
    assert [commit.commit_id for commit in api.list_repo_commits(REPOSITORY)][1:] == before
    assert sorted(store.list()) == ["checkpoints/step-20/manifest.json", "checkpoints/step-20/weights.safetensors"]
    assert whole(store, "checkpoints/step-20/manifest.json") == b'{"step": 20}'
    assert whole(store, "checkpoints/step-20/weights.safetensors") == noise(200_000, 20)


def test_what_a_tag_a_branch_or_another_file_names_is_not_freed(store, server, api):
    store.put([weights(1, "a/1.bin"), weights(2, "a/2.bin"), weights(3, "a/3.bin"), weights(4, "a/4.bin")], still)
    api.create_tag(REPOSITORY, tag="release")
    store.delete(["a/1.bin"])
    assert server.repository(REPOSITORY).used() == 800_000
    api.delete_tag(REPOSITORY, tag="release")
    store.delete(["a/1.bin"])
    assert server.repository(REPOSITORY).used() == 600_000
    api.create_branch(REPOSITORY, branch="kept")
    store.put([weights(3, "b/copy.bin")], still)
    store.delete(["a/2.bin", "a/3.bin"])
    assert server.repository(REPOSITORY).used() == 600_000
    assert whole(store, "b/copy.bin") == noise(200_000, 3)


NAMES = ("checkpoints/1/a.bin", "checkpoints/2/a.bin", "checkpoints/2/b.bin", "run/log", "top.bin")
STEPS = st.tuples(st.booleans(), st.lists(st.sampled_from(NAMES), min_size=1, unique=True), st.integers(0, 2))


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEPS, max_size=6), st.booleans())
def test_whatever_is_put_and_deleted_what_is_listed_can_be_read(server, steps, aged):
    name = f"{REPOSITORY}-{next(NUMBERS)}"
    store, there = Hub(f"hf://{name}"), {}
    for put, names, seed in steps:
        if put:
            store.put([weights(seed, one, 3000) for one in names], still)
            there |= dict.fromkeys(names, noise(3000, seed))
        else:
            if aged and there:
                for stored in server.repository(name).stored.values():
                    stored.pushed = stored.pushed.replace(year=stored.pushed.year - 1)
            store.delete(names)
            there = {one: content for one, content in there.items() if one not in names}
        assert store.list() == dict.fromkeys(sorted(there), 3000)
    assert {one: whole(store, one) for one in there} == there
    if there:
        store.delete(list(there))
        assert store.list() == {}
    store.close()


def test_a_deletion_that_died_before_it_freed_is_completed_by_the_next(store, server):
    store.put([weights(1, "checkpoints/step-1/w.bin"), weights(2, "checkpoints/step-2/w.bin")], still)
    server.faults.answer("lfs-files/batch", 500)
    with pytest.raises(StoreError) as died:
        store.delete(["checkpoints/step-1/w.bin"])
    assert died.value.transient and server.repository(REPOSITORY).used() == 400_000
    store.delete(["checkpoints/step-1/w.bin"])
    assert server.repository(REPOSITORY).used() == 200_000


def test_old_objects_of_the_same_folder_go_and_those_of_other_people_stay(store, server, api):
    store.put([weights(1, "checkpoints/w.bin"), weights(2, "mine/w.bin"), weights(3, "checkpoints/x.bin")], still)
    store.put([weights(4, "checkpoints/w.bin"), weights(5, "mine/w.bin")], still)  # replaces both
    assert server.repository(REPOSITORY).used() == 1_000_000
    store.delete(["checkpoints/x.bin"])
    assert server.repository(REPOSITORY).used() == 800_000  # the replaced ones are young: a put may be under way
    for stored in server.repository(REPOSITORY).stored.values():
        stored.pushed = stored.pushed.replace(year=stored.pushed.year - 1)
    store.delete(["checkpoints/x.bin"])
    kept = {entry.filename for entry in api.list_lfs_files(REPOSITORY)}
    assert server.repository(REPOSITORY).used() == 600_000 and kept == {"checkpoints/w.bin", "mine/w.bin"}


def test_what_somebody_else_put_in_between_is_not_deleted(store, server):
    store.put([weights(), item("run/a.json", b"1")], still)
    other = Hub(f"hf://{REPOSITORY}")
    server.faults.before("POST .*/commit/", lambda: other.put([item("run/a.json", b"newer")], still))
    with pytest.raises(StoreError, match="412") as raced:
        store.delete(["run/a.json"])
    assert raced.value.transient and whole(store, "run/a.json") == b"newer"
    other.close()
