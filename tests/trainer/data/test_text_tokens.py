"""A plain text is read as bytes, its end held out for validation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from trainer.config import Data
from trainer.errors import TrainerError

pytest.importorskip("numpy")

from trainer.data.tokens import BAKED, open_tokens


def opened(folder, content, context=8, vocab=256):
    """The tokens of a text file with this content."""
    (folder / "text").write_bytes(content)
    return open_tokens(Data(path=str(folder / "text")), context, vocab, folder / "cache")


def test_the_baked_text_is_what_no_path_means(tmp_path):
    tokens = open_tokens(Data(), 64, 256, tmp_path / "cache")
    content = BAKED.read_bytes()
    assert bytes(tokens.train.window(0, 3).tolist()) == content[192:257]
    assert tokens.train.bytes + tokens.val.bytes == len(content) and tokens.val.bytes == len(content) // 20
    assert tokens.tokenizer.kind == "bytes" and tokens.token_bytes.tolist() == [1] * 256
    assert not (tmp_path / "cache").exists()


@given(size=some.integers(9, 2000), context=some.integers(1, 8))
def test_training_and_validation_share_no_byte_and_lose_none(tmp_path_factory, size, context):
    content = bytes(index % 251 for index in range(size))
    tokens = opened(tmp_path_factory.mktemp("text"), content, context)
    read = [tokens.train.window(0, index).tolist()[:-1] for index in range(tokens.train.windows)]
    assert bytes(token for window in read for token in window) == content[: tokens.train.windows * context]
    held = tokens.val.bytes if tokens.val else 0
    assert tokens.train.bytes + held == size and held <= size // 4
    if tokens.val:
        assert tokens.val.windows >= 1 and held >= size // 20
        assert tokens.val.window(0, 0).tolist() == list(content[size - held : size - held + context + 1])


def test_the_last_window_ends_with_the_texts_last_byte(tmp_path):
    assert opened(tmp_path, b"0123456789abcdef!").train.window(0, 1).tolist()[-1] == ord("!")


def test_a_token_beyond_the_vocabulary_is_refused_by_name(tmp_path):
    assert opened(tmp_path, bytes(range(32)), vocab=32).train.windows == 3
    with pytest.raises(TrainerError, match=r"holds the token 31, model\.vocab is 31"):
        opened(tmp_path, bytes(range(32)), vocab=31)


@pytest.mark.parametrize("size", [0, 1, 8])
def test_a_text_shorter_than_a_window_is_refused(tmp_path, size):
    with pytest.raises(TrainerError, match=f"holds {size} bytes"):
        opened(tmp_path, b"x" * size)
    assert opened(tmp_path, b"x" * 9).train.windows == 1


def test_what_does_not_exist_is_refused_with_the_next_step(tmp_path):
    with pytest.raises(TrainerError, match=r"cannot read .*nothing: No such file") as caught:
        open_tokens(Data(path=str(tmp_path / "nothing")), 8, 256, tmp_path / "cache")
    assert "data prepare" in caught.value.next_step
