"""Shard files and their index: what is written is what is read, whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from trainer.data import index
from trainer.errors import TrainerError

pytest.importorskip("numpy")

import numpy as np

from trainer.data.shards import ShardWriter, open_shard

SHARD = index.Shard("train-00000.bin", 3, 8, "ab" * 32)


def example(shards=(SHARD,), **changes):
    """An index that is as it should be, but for the changes."""
    split = index.SplitIndex(sum(shard.tokens for shard in shards), 1, 9, tuple(shards))
    right = index.Index("uint16", 256, index.TokenizerIndex("bytes", "bytes"), None, {"train": split}, {"of": "a test"})
    return dataclasses.replace(right, **changes)


@settings(max_examples=40)  # every shard is flushed to the disk
@given(
    stream=some.lists(some.integers(0, 65535), max_size=80),
    cuts=some.lists(some.integers(0, 80), max_size=5),
    per_shard=some.integers(3, 20),
    dtype=some.sampled_from(["uint16", "uint32"]),
)
def test_shards_hold_the_stream_and_each_ends_with_the_first_token_of_the_next(stream, cuts, per_shard, dtype):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with ShardWriter(folder, "train", dtype, per_shard) as writer:
            for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 80], strict=True):
                writer.append(np.array(stream[start:end], dtype=np.int64))
            shards = writer.close()
        values = [open_shard(folder / shard.file, shard, dtype).tolist() for shard in shards]
        assert [token for shard in values for token in shard[:-1]] == stream[: len(stream) - 1 if shards else 0]
        assert [shard[-1] for shard in values] == [
            stream[sum(map(len, values[: n + 1])) - n - 1] for n in range(len(values))
        ]
        assert all(shard.tokens == per_shard for shard in shards[:-1])
        assert all(hashlib.sha256((folder / s.file).read_bytes()).hexdigest() == s.sha256 for s in shards)
        assert {path.name for path in folder.iterdir()} == {shard.file for shard in shards}


@settings(max_examples=20)
@given(size=some.integers(2, 60), stop=some.integers(1, 60), per_shard=some.integers(4, 20))
def test_an_interrupted_writer_goes_on_after_its_whole_shards(size, stop, per_shard):
    stream = np.arange(size)
    with tempfile.TemporaryDirectory() as once, tempfile.TemporaryDirectory() as twice:
        with ShardWriter(Path(once), "train", "uint16", per_shard) as writer:
            writer.append(stream)
            expected = writer.close()
        with ShardWriter(Path(twice), "train", "uint16", per_shard) as writer:
            done = tuple(writer.append(stream[:stop]))
        with ShardWriter(Path(twice), "train", "uint16", per_shard, done) as writer:
            writer.append(stream[writer.received :])
            assert writer.close() == expected


def test_a_token_beyond_the_dtype_is_refused(tmp_path):
    with ShardWriter(tmp_path, "train", "uint16", 8) as writer:
        for beyond in (65536, -1):
            with pytest.raises(TrainerError, match=f"cannot hold the token {beyond}"):
                writer.append(np.array([1, beyond]))
    assert not list(tmp_path.iterdir())


def test_a_disk_that_cannot_take_a_shard_is_named(tmp_path):
    with ShardWriter(tmp_path / "missing", "train", "uint16", 8) as writer:
        with pytest.raises(TrainerError, match=r"cannot write .*missing.*No such file") as caught:
            writer.append(np.arange(9))
        assert caught.value.exit_code == 3


def test_an_index_is_read_as_it_was_written(tmp_path):
    wrote = example(token_bytes=index.FileIndex("token_bytes.bin", "cd" * 32))
    assert index.write(tmp_path, wrote) == index.sha256_of((tmp_path / "index.json").read_bytes())
    assert index.read(tmp_path) == wrote
    assert json.loads((tmp_path / "index.json").read_bytes())["splits"]["train"]["shards"][0]["tokens"] == 3


def test_the_dtype_is_the_narrowest_that_holds_the_vocabulary():
    assert [index.dtype_for(vocab) for vocab in (2, 65536, 65537)] == ["uint16", "uint16", "uint32"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (example(dtype="int8"), "dtype 'int8' is none of uint16, uint32"),
        (example(vocab=65537), "dtype uint16 is too small for a vocabulary of 65537"),
        (example(splits={}), "no train split"),
        (example([dataclasses.replace(SHARD, bytes=9)]), "cannot hold 3 . 1 values in 9 bytes"),
        (example([dataclasses.replace(SHARD, file="../../etc/x")]), "not the plain name"),
        (example([dataclasses.replace(SHARD, sha256="AB" * 32)]), "sha256 of train-00000.bin is not one"),
        (example([SHARD, SHARD]), "train-00000.bin is named twice"),
        (example(splits={"train": index.SplitIndex(4, 1, 9, (SHARD,))}), "do not hold its 4 tokens"),
    ],
)
def test_an_index_that_does_not_add_up_is_refused(wrong, said, tmp_path):
    with pytest.raises(TrainerError, match=said):
        index.write(tmp_path, wrong)
    with pytest.raises(TrainerError, match=said):
        index.parse(wrong.to_bytes(), "there")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (b"{", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b'{"format": 2}', "has format 2"),
        (b'{"format": 1}', "the key 'tokenizer' is missing|the key 'dtype' is missing"),
        (b'{"format": 1, "dtype": "uint16", "vocab": -1}', "-1 should be a whole number"),
        (b'{"format": 1, "dtype": 16, "vocab": 1}', "16 should be text"),
    ],
)
def test_what_is_no_index_is_refused_with_a_reason(written, said):
    with pytest.raises(TrainerError, match=said):
        index.parse(written, "there")


def test_a_folder_without_an_index_says_what_to_do(tmp_path):
    with pytest.raises(TrainerError, match=r"holds no index\.json") as caught:
        index.read(tmp_path)
    assert "data prepare" in caught.value.next_step
