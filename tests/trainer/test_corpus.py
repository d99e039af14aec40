"""The corpus: our own text, every window once an epoch, and a position from which it goes on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trainer.data import grammar


def test_the_baked_text_is_what_the_grammar_writes(environment):
    from pathlib import Path

    baked = Path(grammar.__file__).with_name("tales.txt").read_bytes()
    command = [sys.executable, "-m", "trainer.data.grammar"]
    assert subprocess.run(command, env=environment, capture_output=True, check=True).stdout == baked
    assert len(baked) == grammar.SIZE and baked.isascii()


@pytest.mark.usefixtures("torch")
class TestCorpus:
    def corpus(self, tmp_path, size=10 * 16 + 1, seed=7):
        from trainer.data.corpus import Corpus

        (tmp_path / "text").write_bytes(bytes(index % 251 for index in range(size)))
        return Corpus(str(tmp_path / "text"), context=16, vocab=251, seed=seed)

    def test_an_epoch_holds_every_window_once_and_epochs_differ(self, tmp_path):
        from trainer.data.corpus import Position

        corpus, position = self.corpus(tmp_path), Position()
        epochs = [[int(corpus.batch(position, 1)[0][0, 0]) for _ in range(10)] for _ in range(2)]
        assert sorted(epochs[0]) == sorted(epochs[1]) == [16 * index for index in range(10)]
        assert epochs[0] != epochs[1]

    def test_targets_are_the_next_bytes(self, tmp_path):
        from trainer.data.corpus import Position

        inputs, targets = self.corpus(tmp_path).batch(Position(), 3)
        assert (targets == (inputs + 1) % 251).all()

    def test_a_kept_position_goes_on_with_the_same_batches(self, tmp_path):
        from trainer.data.corpus import Position

        corpus, position = self.corpus(tmp_path), Position()
        corpus.batch(position, 7)
        again = Position(position.epoch, position.index)
        expected = [corpus.batch(position, 4)[0] for _ in range(5)]
        other = self.corpus(tmp_path)
        assert all((other.batch(again, 4)[0] == batch).all() for batch in expected)
        assert again == position and position.epoch == 2

    def test_a_token_beyond_the_vocabulary_is_refused_by_name(self, tmp_path):
        from trainer.data.corpus import Corpus
        from trainer.errors import TrainerError

        (tmp_path / "text").write_bytes(bytes(range(32)) * 2)
        assert Corpus(str(tmp_path / "text"), context=8, vocab=32, seed=1).windows == 7
        with pytest.raises(TrainerError, match=r"holds the token 31, model\.vocab is 31"):
            Corpus(str(tmp_path / "text"), context=8, vocab=31, seed=1)

    def test_a_text_shorter_than_the_context_is_refused(self, tmp_path):
        from trainer.errors import TrainerError

        with pytest.raises(TrainerError, match="16 bytes"):
            self.corpus(tmp_path, size=16)
        assert self.corpus(tmp_path, size=17).windows == 1
