"""What the data's tests share: a folder of shards with known tokens."""

from __future__ import annotations

import pytest


@pytest.fixture
def shard_folder(tmp_path):
    """Writes a prepared folder: train tokens 0, 1, 2, ... modulo 5 less than the vocabulary; val tokens likewise."""
    np = pytest.importorskip("numpy")
    from trainer.data import index, tokenizer
    from trainer.data.shards import ShardWriter

    def write(name="corpus", train=1000, val=100, vocab=256, dtype="uint16", per_shard=128):
        folder = tmp_path / name
        folder.mkdir()
        splits = {}
        for split, size in (("train", train), ("val", val)):
            with ShardWriter(folder, split, dtype, per_shard) as writer:
                writer.append(np.arange(size) % (vocab - 5))
                shards = writer.close()
            splits[split] = index.SplitIndex(sum(shard.tokens for shard in shards), 1, size, shards)
        tokenizer.named("bytes").save(folder)
        counts = np.ones(vocab, dtype="<u2").tobytes()
        (folder / "token_bytes.bin").write_bytes(counts)
        beside = index.FileIndex("token_bytes.bin", index.sha256_of(counts))
        named = index.TokenizerIndex("bytes", "bytes", None)
        index.write(folder, index.Index(dtype, vocab, named, beside, splits, {}))
        return folder

    return write
