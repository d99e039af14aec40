"""Fetching: what is taken, what is verified, what is kept of an earlier try, and what is never overwritten."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.sim.faulty_store import FaultyStore, Killed
from tests.trainer.sync.making import damage, names, save, start
from trainer.checkpoint import folder, manifest, space, verify
from trainer.errors import CHECK_FAILED, OUTSIDE_FAILED, REFUSED, TrainerError
from trainer.stores.file import Folder
from trainer.stores.store import StoreError
from trainer.sync.patience import Patience
from trainer.sync.pull import NothingThere, pull
from trainer.sync.push import push

QUICK = Patience(tries=3, first=0.001, most=0.002)


@pytest.fixture
def there(tmp_path):
    return tmp_path / "there"


@pytest.fixture
def store(there):
    return FaultyStore(Folder(f"file://{there}"))


@pytest.fixture
def sent(tmp_path, store):
    """A run whose checkpoints 10, 20 and 30 (best: 20) are at the store."""
    run = start(tmp_path / "sent", 10, 20)
    save(run, 30, best=20)
    push(run, store.inner, lambda _: None, lambda _: None)
    return run


@pytest.fixture
def fetch(tmp_path, store):
    """A pull into tmp_path/run; its lines are in fetch.said."""

    def get(run=tmp_path / "run", which="latest", only="all", moved=lambda _: None, **wishes):
        return pull(store, run, which, only, get.said.append, moved, patience=QUICK, **wishes)

    get.said = []
    return get


def same(one, two) -> bool:
    return {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in two.iterdir()
    }


def test_the_newest_comes_with_its_pointer_and_the_run_files(tmp_path, sent, fetch):
    done = fetch()
    run = tmp_path / "run"
    assert (done.step, done.already, done.passed) == (30, False, {})
    assert done.folder == run / "checkpoints/step-00000030" and done.fetched == done.bytes
    assert same(done.folder, sent / "checkpoints/step-00000030")
    assert folder.pointed(run / "checkpoints", "latest") == done.folder
    assert (run / "training_metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'
    assert (run / "tokenizer/tokenizer.json").exists() and (run / "config.json").exists()
    assert [path.name for path in (run / "checkpoints").iterdir() if path.name.startswith(".")] == []


def test_the_best_and_any_step_come_when_asked_for(tmp_path, sent, fetch):
    assert fetch(which="best").step == 20
    assert fetch(tmp_path / "other", which=10).step == 10


def test_the_pointer_to_the_best_is_set_when_the_best_is_here(tmp_path, sent, fetch):
    fetch(which="best")
    fetch()
    assert folder.pointed(tmp_path / "run/checkpoints", "best").name == "step-00000020"
    assert folder.pointed(tmp_path / "run/checkpoints", "latest").name == "step-00000030"


def test_a_second_pull_fetches_nothing(sent, fetch, store):
    fetch()
    store.calls.clear()
    done = fetch()
    assert done.already and done.fetched == 0
    assert not any("safetensors" in call for call in store.calls)


def test_an_empty_store_and_an_unknown_step_are_said_and_are_no_fault(tmp_path, store, fetch, there):
    with pytest.raises(NothingThere, match="no whole checkpoint") as nothing:
        fetch()
    assert nothing.value.exit_code == CHECK_FAILED
    push(start(tmp_path / "sent", 10), store.inner, lambda _: None, lambda _: None)
    with pytest.raises(NothingThere, match="of step 11") as nothing:
        fetch(which=11)
    assert "step-00000010" in nothing.value.next_step
    with pytest.raises(NothingThere, match="knows of no best"):
        fetch(which="best")


def test_a_newest_one_that_is_damaged_at_the_store_gives_way_to_the_one_before(tmp_path, sent, fetch, there):
    damage(there / "checkpoints/step-00000030")
    done = fetch()
    assert done.step == 20 and "another sha256" in done.passed["step-00000030"]
    assert any(line.startswith("WARNING: step-00000030") for line in fetch.said)
    assert {path.name for path in (tmp_path / "run/checkpoints").glob(".*")} == set()


@pytest.mark.parametrize("name", ["manifest.json", "random-00000.json"])
def test_a_newest_one_without_all_its_files_does_not_count(sent, fetch, there, name):
    (there / "checkpoints/step-00000030" / name).unlink()
    assert fetch().step == 20


def test_a_damaged_step_that_was_asked_for_is_an_error(sent, fetch, there):
    damage(there / "checkpoints/step-00000030")
    with pytest.raises(TrainerError, match="is whole") as error:
        fetch(which=30)
    assert error.value.exit_code == OUTSIDE_FAILED


def test_a_killed_pull_goes_on_at_the_byte_where_it_was(tmp_path, sent, fetch, store):
    store.faults = ["ok"] * 5 + ["kill 0.5"]
    with pytest.raises(Killed):
        fetch(threads=1)
    kept = sum(path.stat().st_size for path in (tmp_path / "run/checkpoints/.incoming-step-00000030").iterdir())
    assert 600 < kept < 4000
    done = fetch()
    assert done.kept > 600 and done.kept + done.fetched == done.bytes
    assert same(done.folder, sent / "checkpoints/step-00000030")


def test_a_line_that_is_cut_again_and_again_still_brings_the_file(sent, fetch, store):
    store.faults = ["ok"] * 4 + ["cut 0.3"] * 9
    done = fetch(threads=1)
    assert done.fetched == done.bytes and not verify.fault(done.folder)
    assert sum(call.startswith("read checkpoints/step-00000030/") for call in store.calls) >= 13


def test_a_line_that_brings_nothing_is_given_up(sent, fetch, store):
    store.faults = ["ok"] * 4 + ["503"] * 9
    with pytest.raises(StoreError, match="503"):
        fetch(threads=1)


def test_a_kept_beginning_that_is_wrong_is_fetched_anew(tmp_path, sent, fetch, store):
    store.faults = ["ok"] * 5 + ["kill 0.5"]
    with pytest.raises(Killed):
        fetch(threads=1)
    for path in (tmp_path / "run/checkpoints/.incoming-step-00000030").glob("*.safetensors"):
        path.write_bytes(b"x" * 100)
    assert not verify.fault(fetch().folder)


def test_what_is_left_of_another_checkpoint_of_that_step_is_thrown_away(tmp_path, sent, fetch, store):
    store.faults = ["ok"] * 5 + ["kill 0.5"]
    with pytest.raises(Killed):
        fetch(threads=1)
    save(sent, 40)
    save(sent, 30, salt="another")
    push(sent, store.inner, lambda _: None, lambda _: None)
    done = fetch(which=30)
    assert done.kept == 0 and same(done.folder, sent / "checkpoints/step-00000030")


def test_a_damaged_one_here_is_replaced(tmp_path, sent, fetch):
    damage(fetch().folder)
    assert not fetch().already
    assert not verify.fault(tmp_path / "run/checkpoints/step-00000030")


def test_a_folder_of_another_run_is_refused_and_with_force_moved_aside(tmp_path, sent, fetch):
    run = start(tmp_path / "run", 5, identity={"model": {"layers": 2}})
    with pytest.raises(TrainerError, match="another run") as refused:
        fetch()
    assert refused.value.exit_code == REFUSED and [path.name for path in folder.found(run / "checkpoints")] == names(5)
    assert fetch(force=True).step == 30
    assert [path.name for path in folder.found(run / "checkpoints")] == names(30)
    (aside,) = (run / "aside").iterdir()
    assert aside.name.startswith("step-00000005") and not verify.fault(aside)


def test_newer_checkpoints_here_are_refused_and_with_force_moved_aside(tmp_path, sent, fetch):
    run = start(tmp_path / "run", 40)
    with pytest.raises(TrainerError, match="newer than step-00000030") as refused:
        fetch()
    assert refused.value.exit_code == REFUSED
    done = fetch(force=True)
    assert folder.pointed(run / "checkpoints", "latest") == done.folder
    assert [path.name for path in folder.found(run / "checkpoints")] == names(30)


def test_another_checkpoint_of_the_same_step_here_is_not_overwritten(tmp_path, sent, fetch):
    run = start(tmp_path / "run", 30, salt="another")
    before = (run / "checkpoints/step-00000030/manifest.json").read_bytes()
    with pytest.raises(TrainerError, match="another step-00000030"):
        fetch()
    assert (run / "checkpoints/step-00000030/manifest.json").read_bytes() == before


def test_a_disk_that_is_too_small_is_told_in_numbers_before_anything_is_fetched(sent, fetch, monkeypatch, tmp_path):
    monkeypatch.setattr(space, "free", lambda path: 1000)
    with pytest.raises(
        TrainerError, match=r"needs 3.7 kB, 0 B of it are here, .* has 1.0 kB free: .* too little"
    ) as small:
        fetch()
    assert small.value.exit_code == OUTSIDE_FAILED
    assert list((tmp_path / "run/checkpoints").glob("*/*.safetensors")) == []


def test_weights_alone_are_a_checkpoint_that_training_passes_over(tmp_path, sent, fetch):
    done = fetch(only="model")
    assert not any(path.name.startswith("optimizer") for path in done.folder.iterdir())
    assert verify.fault(done.folder) is None and not manifest.resumable(manifest.read(done.folder))
    assert verify.newest_good(tmp_path / "run/checkpoints", lambda _: None) is None
    assert folder.pointed(tmp_path / "run/checkpoints", "latest") == done.folder


def test_the_whole_of_it_replaces_weights_alone_and_serves_as_them(sent, fetch):
    fetch(only="model")
    done = fetch()
    assert not done.already and manifest.resumable(manifest.read(done.folder))
    assert fetch(only="model").already


def test_weights_alone_do_not_hide_a_checkpoint_that_training_goes_on_from(tmp_path, sent, fetch):
    fetch(which=10)
    fetch(only="model")
    assert folder.pointed(tmp_path / "run/checkpoints", "latest").name == "step-00000010"


def test_a_longer_log_here_stays_and_a_shorter_one_is_replaced(tmp_path, sent, fetch):
    run = tmp_path / "run"
    run.mkdir()
    (run / "training_metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n')
    (run / "training.log").write_text("one\n")
    done = fetch()
    assert "training.log" in done.files and (run / "training.log").read_text() == "one\ntwo\n"
    assert (run / "training_metrics.jsonl").read_text().endswith('{"step": 3}\n')


@pytest.mark.parametrize("name", ["trainer.lock", "checkpoints/latest", "tokenizer/../../x", "a/b.jsonl", ".bashrc"])
def test_nothing_else_below_run_is_ever_written_into_the_run_folder(name):
    from trainer.sync import runfiles

    assert not runfiles.ours(name)


def test_a_manifest_that_names_files_elsewhere_is_no_checkpoint(sent, fetch, there):
    place = there / "checkpoints/step-00000030/manifest.json"
    content = json.loads(place.read_bytes())
    content["files"]["../../evil"] = {"bytes": 1, "sha256": "0" * 64}
    place.write_bytes(manifest.sealed(content))
    assert fetch().step == 20


def test_a_pulled_run_sends_nothing_it_has_fetched(tmp_path, sent, fetch, store):
    fetch()
    shutil.rmtree(sent)
    done = push(tmp_path / "run", store.inner, lambda _: None, lambda _: None)
    assert done.sent == [] and done.there == names(30, 20, 10)
