"""Tensors in files: what is written is read back, whoever cut it, and the safetensors library reads it too."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import TrainerError


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
def test_the_same_tensors_come_back_from_any_number_of_ranks(torch, tmp_path, ranks):
    from tests.trainer.checkpoint import made
    from trainer.checkpoint.tensors import Checkpoint

    one = Checkpoint(made.save(tmp_path / "one", 4))
    many = Checkpoint(made.save(tmp_path / "many", 4, ranks=ranks))
    assert many.kinds() == one.kinds() == {"weight", "exp_avg", "step"}
    for kind in one.kinds():
        assert many.names(kind) == one.names(kind)
        for name in one.names(kind):
            assert torch.equal(many.whole(kind, name), one.whole(kind, name))
    assert many.whole("weight", "tokens.weight").shape == (7, 5)
    assert many.whole("step", "norm.weight").shape == ()
    assert many.buffers()["scales"].tolist() == [1, 2, 3]


@given(ranks=st.integers(1, 6), data=st.data())
def test_any_range_comes_back_whoever_cut_it(torch, tmp_path_factory, ranks, data):
    from tests.trainer.checkpoint import made
    from trainer.checkpoint.tensors import Checkpoint

    stored = Checkpoint(made.save(tmp_path_factory.mktemp("range"), 4, ranks=ranks))
    whole = stored.read("weight", "tokens.weight")
    begin = data.draw(st.integers(0, 35))
    end = data.draw(st.integers(begin, 35))
    assert torch.equal(stored.read("weight", "tokens.weight", begin, end), whole[begin:end])


def test_the_safetensors_library_reads_our_files_and_we_read_its(torch, tmp_path):
    from safetensors.torch import load_file, save_file

    from tests.trainer.checkpoint import made
    from trainer.checkpoint.tensors import header

    saved = made.save(tmp_path, 4)
    found = load_file(str(saved / "weights-00000-00.safetensors"))
    assert set(found) == {*made.SHAPES, "buffer/scales"}
    assert found["tokens.weight"].shape == (7, 5) and found["buffer/scales"].dtype == torch.uint8
    save_file({"a": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16)}, str(tmp_path / "theirs"))
    entries, start = header(tmp_path / "theirs")
    assert entries["a"]["shape"] == [2, 3] and start % 8 == 0


def test_large_pieces_are_cut_into_files_of_their_own(torch, tmp_path, monkeypatch):
    from tests.trainer.checkpoint import made
    from trainer.checkpoint import part
    from trainer.checkpoint.tensors import Checkpoint

    whole = Checkpoint(made.save(tmp_path / "one", 4))
    monkeypatch.setattr(part, "SHARD", 40)
    saved = made.save(tmp_path / "cut", 4)
    assert len(list(saved.glob("weights-*"))) > 4
    assert all(path.stat().st_size < 400 for path in saved.glob("*.safetensors"))
    cut = Checkpoint(saved)
    for name in made.SHAPES:
        assert torch.equal(cut.whole("weight", name), whole.whole("weight", name))


def test_the_hash_is_of_what_lies_on_the_disk(torch, tmp_path):
    from tests.trainer.checkpoint import made
    from trainer.checkpoint import tensors

    told: list[int] = []
    entry = tensors.write(tmp_path / "file", made.pieces(), told.append)
    content = (tmp_path / "file").read_bytes()
    assert entry == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert sum(told) == len(content)


def test_buffers_of_any_type_and_length_come_back_in_any_order(torch, tmp_path):
    """What lies behind an odd number of bytes is not aligned to its own size."""
    from trainer.checkpoint import manifest, part
    from trainer.checkpoint.piece import BUFFER, Piece
    from trainer.checkpoint.tensors import Checkpoint

    values = {
        "odd": torch.tensor([True, False, True]),
        "floats": torch.tensor([1.5, -2.0]),
        "none": torch.empty(0),
        "long": torch.tensor([5]),
        "half": torch.tensor([0.25], dtype=torch.bfloat16),
    }
    pieces = [Piece(BUFFER, name, tuple(value.shape), 0, value) for name, value in values.items()]
    written = part.write(tmp_path, 0, pieces, b"{}")
    (tmp_path / manifest.MANIFEST).write_bytes(manifest.sealed({"format": manifest.FORMAT, **written}))
    back = Checkpoint(tmp_path).buffers()
    assert back.keys() == values.keys()
    assert all(torch.equal(back[name], value) for name, value in values.items())


def test_a_missing_part_is_an_error_and_no_zeros(torch, tmp_path):
    from tests.trainer.checkpoint import made
    from trainer.checkpoint.tensors import Checkpoint

    saved = made.save(tmp_path, 4, ranks=3)
    (saved / "weights-00001-00.safetensors").unlink()
    with pytest.raises(TrainerError, match=r"lacks tokens.weight from element"):
        Checkpoint(saved).read("weight", "tokens.weight")


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 4, b"\xff" * 64, b"\x05\0\0\0\0\0\0\0[1,2]", b"\x05\0\0\0\0\0\0\0hell"]
)
def test_a_file_that_is_none_of_ours_is_named(tmp_path, content):
    from trainer.checkpoint.tensors import header

    (tmp_path / "file").write_bytes(content)
    with pytest.raises(TrainerError, match="no safetensors file"):
        header(tmp_path / "file")
