"""One pass of sending: what arrives, in which order, and what stays away."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.sim.faulty_store import FaultyStore
from tests.trainer.sync.making import contents, damage, names, save, shown, start
from trainer.checkpoint import folder, publish, thin
from trainer.errors import REFUSED, TrainerError
from trainer.stores.file import Folder
from trainer.stores.store import StoreError
from trainer.sync import remote, status
from trainer.sync.prune import Rules
from trainer.sync.push import push


@pytest.fixture
def there(tmp_path):
    return tmp_path / "there"


@pytest.fixture
def store(there):
    return FaultyStore(Folder(f"file://{there}"))


@pytest.fixture
def send(store):
    """A pass; its lines are in send.said."""

    def run_pass(run, rules=None, **wishes):
        return push(run, store, lambda _: None, run_pass.said.append, rules, **wishes)

    run_pass.said = []
    return run_pass


def test_all_checkpoints_and_run_files_arrive(tmp_path, there, send):
    run = start(tmp_path / "run", 10, 20)
    done = send(run)
    assert done.sent == done.there == names(20, 10) and done.unsent == []
    assert shown(there) == {"step-00000010": None, "step-00000020": None}
    sent = {path.relative_to(there / "run").as_posix() for path in (there / "run").rglob("*") if path.is_file()}
    settings = {"config.json", "precision.json", "tokenizer/tokenizer.json"}
    assert sent == settings | {"training.log", "training_metrics.jsonl"}


def test_a_torn_last_line_of_a_log_is_not_sent(tmp_path, there, send):
    send(start(tmp_path / "run", 10))
    assert (there / "run/training_metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'


def test_the_newest_goes_first_and_then_the_best(tmp_path, send):
    run = start(tmp_path / "run", 10, 20, 30)
    save(run, 40, best=20)
    assert send(run).sent == names(40, 20, 30, 10)


def test_the_manifest_goes_alone_after_the_data_was_seen_there(tmp_path, store, send):
    send(start(tmp_path / "run", 10))
    puts = [number for number, call in enumerate(store.calls) if call.startswith("put")]
    assert len(puts) == 2
    data, manifest = (store.calls[number] for number in puts)
    assert "manifest.json" not in data
    assert manifest == "put checkpoints/step-00000010/manifest.json"
    assert store.calls[puts[0] + 1 : puts[1]].count("list checkpoints/step-00000010/") == 1
    assert store.calls[puts[1] + 1].startswith("list")


def test_a_second_pass_sends_nothing(tmp_path, store, send):
    run = start(tmp_path / "run", 10)
    send(run)
    store.calls.clear()
    assert send(run).sent == []
    assert [call for call in store.calls if call.startswith(("put", "delete"))] == []


def test_a_log_that_has_grown_goes_again_and_nothing_else(tmp_path, store, send):
    run = start(tmp_path / "run", 10)
    send(run)
    store.calls.clear()
    with (run / "training.log").open("a") as log:
        log.write("three\n")
    send(run)
    assert [call for call in store.calls if call.startswith("put")] == ["put run/training.log"]


def test_a_shorter_log_never_replaces_a_longer_one_there(tmp_path, there, send):
    send(start(tmp_path / "run", 10))
    other = start(tmp_path / "other", 20)
    (other / "training.log").write_text("one\n")
    send(other)
    assert (there / "run/training.log").read_text() == "one\ntwo\n"


def test_a_folder_without_checkpoints_replaces_nothing_of_a_run_that_is_there(tmp_path, there, send):
    send(start(tmp_path / "run", 10))
    fresh = start(tmp_path / "fresh")
    (fresh / "config.json").write_text("another\n")
    send(fresh)
    assert (there / "run/config.json").read_text() == '{"model": {}}\n'
    assert any("pull it first" in line for line in send.said)


def test_settings_and_logs_go_before_the_first_checkpoint_is_made(tmp_path, there, send):
    send(start(tmp_path / "run"))
    assert (there / "run/config.json").exists() and (there / "run/training.log").exists()


def test_a_damaged_checkpoint_is_passed_over_and_older_ones_go(tmp_path, there, send):
    run = start(tmp_path / "run", 10, 20)
    damage(run / "checkpoints/step-00000020")
    done = send(run)
    assert done.there == names(10) and done.unsent == names(20)
    assert "another sha256" in done.reasons["step-00000020"]
    assert any(line.startswith("WARNING: step-00000020") for line in send.said)
    assert list(shown(there)) == names(10)


def test_what_was_sent_of_a_checkpoint_that_vanished_goes_again(tmp_path, there, store, send):
    run = start(tmp_path / "run", 10, 20)
    store.faults = ["ok"] * 3 + ["vanish"]
    store.vanish = lambda: shutil.rmtree(run / "checkpoints/step-00000020")
    done = send(run)
    assert done.there == names(10)
    assert "removed while it was on its way" in done.reasons["step-00000020"]
    assert [path.name for path in (there / "checkpoints").iterdir()] == names(10)


def test_a_cut_transfer_goes_on_with_the_files_that_are_missing(tmp_path, there, store, send):
    run = start(tmp_path / "run", 10)
    store.faults = ["ok"] * 3 + ["cut 0.3"]
    with pytest.raises(StoreError):
        send(run)
    kept = {path.name for path in there.glob("checkpoints/step-00000010/*")}
    assert 0 < len(kept) < 6 and shown(there) == {}
    store.calls.clear()
    send(run)
    again = next(call for call in store.calls if call.startswith("put"))
    assert not any(name in again for name in kept)
    assert shown(there) == {"step-00000010": None}


def test_files_of_another_attempt_at_the_same_step_are_not_taken_for_ours(tmp_path, there, send):
    """They have the same names and sizes; only the content differs."""
    place = there / "checkpoints/step-00000010"
    place.mkdir(parents=True)
    for name, data in contents(10, salt="another").items():
        (place / name).write_bytes(data)
    send(start(tmp_path / "run", 10))
    assert shown(there) == {"step-00000010": None}


@pytest.mark.parametrize("fault", ["lose", "truncate"])
@pytest.mark.parametrize("call", [3, 6])
def test_a_lost_write_is_seen_and_made_up_for(tmp_path, there, store, send, fault, call):
    run = start(tmp_path / "run", 10)
    store.faults = ["ok"] * call + [fault]
    with pytest.raises(StoreError, match="does not"):
        send(run)
    assert store.calls[call].startswith("put") and shown(there) == {}
    send(run)
    assert shown(there) == {"step-00000010": None}


def test_a_step_that_was_made_anew_replaces_the_one_there(tmp_path, there, send):
    run = start(tmp_path / "run", 10, 20)
    send(run)
    save(run, 20, salt="another")
    assert send(run).sent == names(20)
    assert shown(there) == {"step-00000010": None, "step-00000020": None}


def test_the_only_one_there_is_replaced_after_a_newer_one_has_arrived(tmp_path, there, send):
    run = start(tmp_path / "run", 10)
    send(run)
    before = (there / "checkpoints/step-00000010/manifest.json").read_bytes()
    save(run, 10, salt="another")
    done = send(run)
    assert done.sent == [] and done.unsent == names(10) and "replaced later" in done.reasons["step-00000010"]
    assert (there / "checkpoints/step-00000010/manifest.json").read_bytes() == before
    save(run, 20)
    assert send(run).sent == names(20, 10)
    assert shown(there) == {"step-00000010": None, "step-00000020": None}


def test_another_runs_url_is_refused_unless_told(tmp_path, send):
    send(start(tmp_path / "run", 10))
    other = start(tmp_path / "other", 20, identity={"model": {"layers": 2}})
    with pytest.raises(TrainerError, match="another run") as refused:
        send(other)
    assert refused.value.exit_code == REFUSED
    assert send(other, adopt=True).sent == names(20)


def test_a_run_whose_settings_were_changed_on_purpose_is_no_other_run(tmp_path, send):
    from trainer.checkpoint import manifest

    run = start(tmp_path / "run", 10)
    send(run)
    parent = manifest.read(run / "checkpoints/step-00000010")["sha256"]
    shutil.rmtree(run / "checkpoints/step-00000010")
    save(run, 20, identity={"model": {"layers": 1}, "train": {"seed": 2}}, parent=parent)
    assert send(run).sent == names(20)


def test_weights_kept_alone_are_not_sent_and_do_not_replace_the_whole_one_there(tmp_path, there, send):
    run = start(tmp_path / "run", 10, 20)
    send(run)
    thin.thin(run / "checkpoints/step-00000010")
    done = send(run)
    assert done.sent == [] and done.there == names(20, 10) and done.unsent == []
    assert "optimizer-00000-00.safetensors" in {path.name for path in there.glob("checkpoints/step-00000010/*")}


def test_the_store_keeps_the_newest_the_best_and_the_multiples(tmp_path, there, send):
    run = start(tmp_path / "run")
    rules = Rules(keep=2, keep_every=30)
    for step in range(10, 80, 10):
        save(run, step, best=20 if step >= 20 else 10)
        send(run, rules)
    assert list(shown(there)) == names(20, 30, 60, 70)
    assert {path.name for path in (there / "checkpoints").iterdir()} == set(names(20, 30, 60, 70))


def test_what_the_store_would_drop_at_once_is_not_sent(tmp_path, send):
    run = start(tmp_path / "run", *range(10, 60, 10))
    done = send(run, Rules(keep=2))
    assert done.sent == names(50, 40) and done.skipped == names(30, 20, 10) and done.unsent == []


def test_nothing_is_dropped_before_a_newer_one_has_arrived(tmp_path, there, store, send):
    run = start(tmp_path / "run", 10)
    send(run, Rules(keep=1))
    save(run, 20)
    store.faults = ["ok"] * 6 + ["lose"]
    with pytest.raises(StoreError):
        send(run, Rules(keep=1))
    assert list(shown(there)) == names(10)
    send(run, Rules(keep=1))
    assert list(shown(there)) == names(20)


def test_the_manifest_of_a_dropped_one_goes_before_its_data(tmp_path, there, store, send):
    run = start(tmp_path / "run", 10, 20)
    send(run)
    store.calls.clear()
    send(run, Rules(keep=1))
    deletes = [call for call in store.calls if call.startswith("delete")]
    assert deletes[0] == "delete checkpoints/step-00000010/manifest.json"
    assert "manifest.json" not in deletes[1] and len(deletes) == 2


def test_half_sent_ones_that_nobody_will_finish_are_swept(tmp_path, there, store, send):
    run = start(tmp_path / "run", 10)
    store.faults = ["ok"] * 3 + ["cut 0.5"]
    with pytest.raises(StoreError):
        send(run)
    shutil.rmtree(run / "checkpoints/step-00000010")
    save(run, 20)
    send(run)
    assert [path.name for path in (there / "checkpoints").iterdir()] == names(20)


def test_a_store_that_is_ahead_of_the_run_folder_is_told_loudly_and_kept(tmp_path, there, send):
    run = start(tmp_path / "run", 10, 20, 30)
    send(run)
    for step in (20, 30):
        shutil.rmtree(run / "checkpoints" / folder.name_of(step))
    save(run, 15)
    send(run, Rules(keep=2))
    assert any("newer than all" in line for line in send.said)
    assert {"step-00000030", "step-00000015"} <= set(shown(there))


def test_a_run_that_was_taken_back_drops_there_what_it_had_made_beyond(tmp_path, there, send):
    run = start(tmp_path / "run", 10, 20, 30)
    send(run)
    for step in (20, 30):
        shutil.rmtree(run / "checkpoints" / folder.name_of(step))
    assert send(run, Rules(keep=3, rewound=10)).removed == [], "nothing was made since: the training may never begin"
    save(run, 15)
    assert send(run, Rules(keep=3, rewound=10)).removed == names(30, 20)
    send(run, Rules(keep=3, rewound=10))
    assert list(shown(there)) == names(10, 15)


def test_a_run_that_was_taken_back_drops_nothing_there_for_a_damaged_one_of_its_own(tmp_path, there, send):
    """The store has another checkpoint of that step: what has arrived is not ours."""
    run = start(tmp_path / "run", 10, 20, 30)
    send(run)
    shutil.rmtree(run / "checkpoints/step-00000030")
    damage(save(run, 20, salt="another turn"), "weights-00000-00.safetensors")
    assert send(run, Rules(keep=3, rewound=10)).removed == []
    assert list(shown(there)) == names(10, 20, 30)


def test_a_full_disk_here_does_not_keep_a_checkpoint_from_being_sent(tmp_path, there, send, monkeypatch):
    import trainer.sync.claims

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trainer.sync.claims, "replace", full)
    send(start(tmp_path / "run", 10))
    assert shown(there) == {"step-00000010": None}


def test_what_is_at_a_store_can_be_listed_with_what_is_wrong(tmp_path, there, store, send):
    run = start(tmp_path / "run", 10, 20)
    save(run, 30, best=20)
    send(run)
    (there / "checkpoints/step-00000010/random-00000.json").unlink()
    damage(there / "checkpoints/step-00000030", "manifest.json")
    found = remote.checkpoints(store)
    assert [(one.step, one.complete) for one in found] == [(30, False), (20, True), (10, False)]
    assert "random-00000.json is missing" in found[2].fault and "damaged" in found[0].fault
    assert found[1].bytes == sum(path.stat().st_size for path in there.glob("checkpoints/step-00000020/*"))


def test_the_pass_tells_what_is_there_as_it_goes(tmp_path, send):
    run = start(tmp_path / "run", 10, 20)
    told = []
    send(run, told=lambda pushed: told.append(json.loads(json.dumps(pushed.to_json()))))
    assert [one["there"] for one in told] == [[], names(20), names(20, 10)]
    assert told[0]["unsent"] == names(20, 10)


def test_what_another_run_has_at_the_url_is_never_taken_for_ours(tmp_path, send):
    """Retention with a required store drops what it believes to be there."""
    send(start(tmp_path / "first", 10, 20))
    second = tmp_path / "second"
    second.mkdir()
    early = send(second)  # the pass of a sync process that begins with the training
    assert early.there == names(20, 10) and early.seals == {}
    assert early.doubt is not None and "URL of its own" in early.doubt
    status.Status(second, "file:///there", 1).set(checkpoints=early.there, seals=early.seals)
    start(second, 10, 20, identity={"seed": 99})
    assert publish.at_remote(second) == set()


def test_what_was_sent_counts_until_another_one_takes_its_name(tmp_path, send):
    run = start(tmp_path / "run", 10, 20)
    sent = send(run)
    status.Status(run, "file:///there", 1).set(checkpoints=sent.there, skipped=sent.skipped, seals=sent.seals)
    assert publish.at_remote(run) == set(names(20, 10))
    shutil.rmtree(run / "checkpoints" / names(20)[0])
    save(run, 20, salt="again")
    assert publish.at_remote(run) == set(names(10))
