"""`data prepare`, `show` and `verify`: bad input is named, limits hold, and the command does what it says."""

from __future__ import annotations

import pytest

np = pytest.importorskip("numpy")

import dataclasses  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402

from tests.trainer.data.preparing import jsonl, stream, tales, wish  # noqa: E402
from trainer.data.documents import Encoded  # noqa: E402
from trainer.data.limits import Limits, clip  # noqa: E402
from trainer.data.prepare import prepare  # noqa: E402
from trainer.data.readers import Shape  # noqa: E402
from trainer.data.show import show, verify  # noqa: E402
from trainer.errors import TrainerError  # noqa: E402


@pytest.fixture
def stories():
    """Documents of some hundred bytes, all different."""
    return tales()


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


def test_a_source_that_would_hold_its_own_result_is_refused(stories, tmp_path):
    source = tmp_path / "corpus"
    source.mkdir()
    jsonl(source / "a.jsonl", stories)
    for out in (source, source / "out"):
        with pytest.raises(TrainerError, match="is inside the source") as caught:
            prepare(wish(source, out))
        assert caught.value.exit_code == 4
    assert [one.name for one in source.iterdir()] == ["a.jsonl"]


def test_a_prepared_folder_is_no_corpus(stories, tmp_path):
    prepare(wish(jsonl(tmp_path / "a.jsonl", stories), tmp_path / "out"))
    with pytest.raises(TrainerError, match="is a prepared folder, no text"):
        prepare(wish(tmp_path / "out", tmp_path / "again"))
