"""Sources are found in a fixed order; reading on from any position gives the same blocks; bad files are named."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numpy")

from tests.trainer.data.corpora import required
from trainer.data import block as sizes
from trainer.data import readers
from trainer.data.block import safe_cut
from trainer.data.documents import Rules, Skipped, parts
from trainer.data.readers import Shape, blocks
from trainer.data.sources import Source, find
from trainer.errors import TrainerError


def read(sources, shape, start=None):
    """The texts of all documents, parts of one joined."""
    texts = []
    for block, _ in blocks(sources, shape, start):
        for part in parts(block, Rules(shape.key), Skipped()):
            if part.begins:
                texts.append("")
            texts[-1] += part.text
    return texts


def text_file(path, content):
    path.write_bytes(content)
    return Source("text", str(path), path.name, len(content))


def test_a_folder_is_read_by_name_without_hidden_files_and_unknown_ends(tmp_path):
    for name in ("b.txt", "a/z.jsonl", "a/b.parquet", ".hidden.txt", "__pycache__/x.txt", "picture.png", "c.txt.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found, left = find([str(tmp_path)])
    expected = [("a/b.parquet", "parquet"), ("a/z.jsonl", "jsonl"), ("b.txt", "text"), ("c.txt.gz", "text")]
    assert [(one.name, one.form) for one in found] == expected
    assert [one.rsplit("/", 1)[1] for one in left] == ["picture.png"]


def test_globs_and_named_files_are_sources(tmp_path):
    for name in ("a.txt", "b.txt", "notes"):
        (tmp_path / name).write_text(name)
    found, _ = find([str(tmp_path / "notes"), str(tmp_path / "*.txt")])
    assert [one.name for one in found] == ["notes", "a.txt", "b.txt"]


def test_what_is_not_there_is_named_with_what_is_near(tmp_path):
    (tmp_path / "corpus.jsonl").write_text("{}")
    with pytest.raises(TrainerError) as caught:
        find([str(tmp_path / "corpus.json")])
    assert "did you mean" in caught.value.next_step and "corpus.jsonl" in caught.value.next_step
    with pytest.raises(TrainerError, match="no file is like"):
        find([str(tmp_path / "*.text")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainerError, match="no corpus in"):
        find([str(tmp_path / "empty")])


@settings(max_examples=60)
@given(documents=st.lists(st.text("ab \n\u00e9\u65e5", max_size=60), max_size=30), size=st.integers(8, 64))
def test_text_split_at_a_separator_comes_back_whatever_the_block_size(tmp_path_factory, documents, size):
    folder = tmp_path_factory.mktemp("text")
    kept = [one.strip("\n") for one in documents]
    content = "\n<|end|>\n".join(kept).encode()
    source = text_file(folder / "a.txt", content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "SIZE", size)
        texts = read([source], Shape("<|end|>"))
    assert texts == [one for one in kept if one]


@settings(max_examples=40)
@given(content=st.text("ab\n \u00e9\U0001f600", min_size=1, max_size=400), size=st.integers(8, 64))
def test_a_large_document_is_cut_into_pieces_that_make_it_again(tmp_path_factory, content, size):
    source = text_file(tmp_path_factory.mktemp("text") / "a.txt", content.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "SIZE", size)
        assert read([source], Shape()) == [content]


@pytest.mark.parametrize("form", ["whole", "separated", "blank", "jsonl", "parquet", "mixed"])
def test_reading_on_from_any_position_gives_the_same_blocks(tmp_path, monkeypatch, form):
    for module in (readers, sizes):
        monkeypatch.setattr(module, "SIZE", 200)
    monkeypatch.setattr("trainer.data.columns.SIZE", 200)
    sources = _corpus(tmp_path, form)
    shape = Shape({"separated": "||", "blank": ""}.get(form))
    all_of_it = list(blocks(sources, shape))
    assert len(all_of_it) > 5
    for number, (_, position) in enumerate(all_of_it):
        position = json.loads(json.dumps(position))
        rest = list(blocks(sources, shape, position))
        assert [_key(one) for one, _ in rest] == [_key(one) for one, _ in all_of_it[number + 1 :]]


def _key(block):
    rows = block.rows.to_pylist() if hasattr(block.rows, "to_pylist") else block.rows
    return block.file, block.first, block.lines, block.pieces, rows


def _corpus(folder, form):
    if form in ("separated", "blank"):
        between = {"separated": "||", "blank": "\n\n"}[form]
        text = between.join(f"document {n} " * (n % 40) for n in range(60))
        return [text_file(folder / "a.txt", text.encode())]
    if form == "mixed":
        return [*_corpus(folder, "jsonl"), *_corpus(folder, "whole"), *_corpus(folder, "parquet")]
    if form == "whole":
        return [text_file(folder / f"{n}.txt", b"line of text\n" * (5 * n)) for n in range(12)]
    rows = [{"text": f"row {n} " * (n % 30), "other": n} for n in range(100)]
    path = folder / f"rows.{form}"
    if form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pyarrow = required("pyarrow")
        parquet = required("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=33)
    return [Source(form, str(path), path.name, path.stat().st_size)]


@pytest.mark.parametrize("form", ["gz", "xz", "bz2", "zst"])
def test_compressed_files_are_read_as_they_were_and_go_on_in_the_middle(tmp_path, monkeypatch, form):
    monkeypatch.setattr(readers, "SIZE", 500)
    content = "".join(json.dumps({"text": f"line {n}"}) + "\n" for n in range(500)).encode()
    if form == "zst":
        packed = required("zstandard").ZstdCompressor().compress(content)
    else:
        packed = {"gz": gzip, "xz": lzma, "bz2": bz2}[form].compress(content)
    path = tmp_path / f"a.jsonl.{form}"
    path.write_bytes(packed)
    sources, _ = find([str(path)])
    assert read(sources, Shape()) == [f"line {n}" for n in range(500)]
    some = list(blocks(sources, Shape()))
    assert some[9][0].lines == next(blocks(sources, Shape(), some[8][1]))[0].lines


@pytest.mark.parametrize("form", ["gz", "xz", "bz2"])
def test_a_cut_off_compressed_file_is_named(tmp_path, form):
    path = tmp_path / f"a.txt.{form}"
    path.write_bytes({"gz": gzip, "xz": lzma, "bz2": bz2}[form].compress(b"some text\n" * 1000)[:-20])
    with pytest.raises(TrainerError, match=r"a\.txt\.\w+ is damaged or cut off"):
        read(find([str(path)])[0], Shape())


def test_a_byte_order_mark_is_no_text(tmp_path):
    assert read([text_file(tmp_path / "a.txt", b"\xef\xbb\xbfabc")], Shape()) == ["abc"]
    (tmp_path / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "abc"}\n')
    assert read(find([str(tmp_path / "a.jsonl")])[0], Shape()) == ["abc"]


def test_a_line_longer_than_a_block_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "SIZE", 100)
    texts = ["a" * 10, "b" * 5000, "c"]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    assert read(find([str(tmp_path / "a.jsonl")])[0], Shape()) == texts


@given(st.binary(min_size=2, max_size=300), st.data())
def test_a_cut_lies_inside_and_not_beyond_what_was_asked(content, data):
    at = data.draw(st.integers(1, len(content) - 1))
    assert 1 <= safe_cut(content, at) <= at


@given(st.text(min_size=8, max_size=200), st.data())
def test_a_cut_never_divides_a_character(text, data):
    content = text.encode("utf-8", "ignore")
    if len(content) > 6:
        at = data.draw(st.integers(4, len(content) - 1))
        cut = safe_cut(content, at)
        assert content[:cut].decode() + content[cut:].decode() == content.decode()


def test_parquet_without_the_column_says_which_there_are(tmp_path):
    pyarrow, parquet = required("pyarrow"), required("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"texts": ["a"], "id": [1]}), tmp_path / "a.parquet")
    with pytest.raises(TrainerError) as caught:
        read(find([str(tmp_path / "a.parquet")])[0], Shape())
    assert "no column 'text'" in caught.value.what
    assert "--text-key texts" in caught.value.next_step and "id" in caught.value.next_step


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    required("pyarrow")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(TrainerError, match=r"cannot read .*a\.parquet"):
        read(find([str(tmp_path / "a.parquet")])[0], Shape())
