"""Opening a prepared folder: what is missing, truncated, altered or does not fit is said before anything is trained."""

from __future__ import annotations

import json
import os
import shutil
import threading

import pytest

from trainer.config import Data
from trainer.errors import TrainerError

pytest.importorskip("numpy")

from trainer.data import prepared, verify
from trainer.data.tokens import open_tokens


@pytest.fixture
def opened(tmp_path):
    """Opens a folder with small windows; what is open is closed at the end."""
    kept = []

    def open_it(folder, context=8, vocab=256, cache="cache"):
        kept.append(open_tokens(Data(path=str(folder)), context, vocab, tmp_path / cache))
        return kept[-1]

    yield open_it
    for tokens in kept:
        tokens.close()


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that were hashed."""
    names = []
    real = verify.sha256_of_file
    monkeypatch.setattr(verify, "sha256_of_file", lambda path: names.append(path.name) or real(path))
    return names


def test_a_folder_gives_its_splits_tokenizer_and_identity(shard_folder, opened):
    folder = shard_folder(train=1000, val=100, per_shard=128)
    tokens = opened(folder)
    assert (tokens.train.tokens, tokens.train.windows, tokens.train.shards) == (999, 124, (16,) * 7 + (12,))
    assert (tokens.val.tokens, tokens.val.windows, tokens.val.bytes) == (99, 12, 100)
    assert tokens.train.window(1, 2).tolist() == [value % 251 for value in range(144, 153)]
    assert tokens.tokenizer.decode([104, 105]) == "hi" and tokens.token_bytes.tolist() == [1] * 256
    told = tokens.describe()
    assert told["train"]["unread"] == 999 - 124 * 8 and told["tokenizer"] == "bytes"
    assert len(tokens.sha256) == 64 and opened(folder).sha256 == tokens.sha256
    assert opened(shard_folder("other", train=999)).sha256 != tokens.sha256


def test_a_missing_shard_is_named_with_the_next_step(shard_folder, opened):
    folder = shard_folder()
    (folder / "train-00003.bin").unlink()
    with pytest.raises(TrainerError, match=r"shard .*train-00003\.bin is missing") as caught:
        opened(folder)
    assert caught.value.exit_code == 2 and "copy it again" in caught.value.next_step


@pytest.mark.parametrize(("change", "how"), [(-2, "truncated: 256 bytes, 258"), (2, "too long: 260 bytes, 258")])
def test_a_shard_of_another_size_is_named(shard_folder, opened, change, how):
    folder = shard_folder()
    os.truncate(folder / "train-00003.bin", 258 + change)
    with pytest.raises(TrainerError, match=rf"train-00003\.bin is {how} in the index"):
        opened(folder)


def flip(path, at=100):
    """Changes one bit of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_an_altered_shard_is_named(shard_folder, opened):
    folder = shard_folder()
    flip(folder / "train-00003.bin")
    with pytest.raises(TrainerError, match=r"train-00003\.bin was altered: its sha256"):
        opened(folder)


def test_every_shard_is_hashed_once_and_again_when_it_changed_since(shard_folder, opened, hashed):
    folder = shard_folder(train=400, val=100)
    opened(folder)
    assert sorted(hashed) == [
        "train-00000.bin",
        "train-00001.bin",
        "train-00002.bin",
        "train-00003.bin",
        "val-00000.bin",
    ]
    opened(folder)
    assert len(hashed) == 5
    flip(folder / "train-00001.bin")
    with pytest.raises(TrainerError, match=r"train-00001\.bin was altered"):
        opened(folder)
    flip(folder / "train-00001.bin")
    opened(folder)
    assert hashed[5:] == ["train-00001.bin"] * 2


def test_nothing_is_written_into_the_data_folder_and_without_a_cache_stamps_live_in_memory(
    shard_folder, opened, hashed, tmp_path
):
    folder = shard_folder()
    before = sorted(path.name for path in folder.iterdir())
    (tmp_path / "cache").write_text("a file where the folder should be")
    opened(folder).train.window(0, 0)
    assert len(hashed) == 9
    assert sorted(path.name for path in folder.iterdir()) == before


def test_damaged_stamps_cost_one_hashing(shard_folder, opened, hashed, tmp_path):
    folder = shard_folder()
    opened(folder)
    (tmp_path / "cache" / "verified.json").write_text('{"torn')
    opened(folder)
    opened(folder)
    assert len(hashed) == 18


def test_a_large_corpus_is_hashed_shard_by_shard_before_it_is_read(shard_folder, opened, hashed, monkeypatch):
    monkeypatch.setattr(prepared, "EAGER", 1000)
    folder = shard_folder()
    flip(folder / "train-00003.bin")
    train = opened(folder).train
    assert not hashed
    train.window(2, 0)
    assert hashed == ["train-00002.bin"]
    with pytest.raises(TrainerError, match=r"train-00003\.bin was altered"):
        train.window(3, 0)


def test_wanted_shards_are_opened_ahead_and_others_released(shard_folder, opened, hashed, monkeypatch):
    monkeypatch.setattr(prepared, "EAGER", 0)
    train = opened(shard_folder()).train
    for now, after in (([5, 2], [1]), ([1], [6])):
        train.want(now, after)
        for _ in range(200):
            if sorted(train._open) == sorted([*now, *after]):
                break
            threading.Event().wait(0.02)
        assert sorted(train._open) == sorted([*now, *after])
    assert hashed == [f"train-0000{number}.bin" for number in (5, 2, 1, 6)]
    train.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "shards-train"]


def test_a_vocabulary_larger_than_the_models_is_refused_with_one_that_fits(shard_folder, opened):
    folder = shard_folder(vocab=300)
    with pytest.raises(TrainerError, match=r"vocabulary of 300, model\.vocab is 256") as caught:
        opened(folder)
    assert "300" in caught.value.next_step and "384" in caught.value.next_step
    assert opened(folder, vocab=384).vocab == 300


def test_a_dtype_too_small_for_the_vocabulary_is_refused(shard_folder, opened):
    folder = shard_folder()
    plain = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**plain, "vocab": 70000}))
    with pytest.raises(TrainerError, match="uint16 is too small for a vocabulary of 70000"):
        opened(folder, vocab=70000)


def test_an_empty_corpus_is_refused(shard_folder, opened):
    with pytest.raises(TrainerError, match="holds no tokens to train on"):
        opened(shard_folder(train=0))


def test_a_corpus_without_one_window_is_refused_with_the_longest_that_fits(shard_folder, opened):
    folder = shard_folder(train=1000, per_shard=128)
    with pytest.raises(TrainerError, match=r"no shard of .* holds one window of model\.context = 129") as caught:
        opened(folder, context=129)
    assert "128" in caught.value.next_step
    assert opened(folder, context=128).train.windows == 7


def test_a_validation_split_without_one_window_is_none(shard_folder, opened):
    assert opened(shard_folder(val=5)).val is None
    assert opened(shard_folder("none", val=0)).val is None


def test_altered_token_bytes_and_another_tokenizer_are_refused(shard_folder, opened):
    folder = shard_folder()
    flip(folder / "token_bytes.bin")
    with pytest.raises(TrainerError, match=r"token_bytes\.bin was altered"):
        opened(folder)
    flip(folder / "token_bytes.bin")
    plain = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**plain, "tokenizer": {"kind": "gpt2", "name": "gpt2"}}))
    with pytest.raises(TrainerError, match="the tokenizer beside the shards is bytes"):
        _ = opened(folder).tokenizer


def test_a_copied_folder_is_the_same_corpus(shard_folder, opened, tmp_path):
    folder = shard_folder()
    shutil.copytree(folder, tmp_path / "copy")
    assert opened(tmp_path / "copy").sha256 == opened(folder).sha256
