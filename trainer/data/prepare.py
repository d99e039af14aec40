"""Makes a prepared folder from sources. Its bytes depend on sources and options alone: not on the number of workers,
nor on how often it was killed and went on."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trainer.data import index as indexes
from trainer.data.advance import Advance
from trainer.data.claim import TOKEN_BYTES, Claim
from trainer.data.documents import Rules
from trainer.data.index import FileIndex, Index, SplitIndex, TokenizerIndex, dtype_for
from trainer.data.journal import Counts, full
from trainer.data.limits import clip
from trainer.data.readers import blocks
from trainer.data.sources import Source, find
from trainer.data.streams import TRAIN, VAL, Streams, usable
from trainer.data.tokenizer import DESCRIPTION, Tokenizer, load, named, with_eot
from trainer.data.wish import Wish, check, fingerprints, given, options, share, wanted
from trainer.data.workers import Collect, Tokenize, work
from trainer.errors import STOPPED_EARLY, TrainerError

INEXACT = 0.01  # share of the text that token_bytes may miss; beyond it bits per byte would be wrong


def prepare(wish: Wish) -> dict[str, Any]:
    """Prepares, or goes on, or finds it done. The summary that `data prepare --json` prints.

    Raises TrainerError for bad input, a folder that is another's, a full disk; and (exit code 75) when interrupted.
    """
    begun = time.monotonic()
    check(wish)
    sources, left = find(wish.sources, wish.form)
    tokenizer = None if wish.tokenizer == "chars" else named(wish.tokenizer, wish.eot)
    fingerprint, about = fingerprints(wish, sources, tokenizer)
    claim = Claim(wish.out, fingerprint, about, wish.force)
    finished = claim.finished is not None
    try:
        index = claim.finished or _make(wish, sources, tokenizer, claim, fingerprint)
        finished = True
    except KeyboardInterrupt:
        what = f"stopped; {len(claim.journal.read() or [])} finished shards stay in {wish.out}"
        raise TrainerError(what, "the same command goes on from there", STOPPED_EARLY) from None
    finally:
        claim.release(finished)
    already = claim.finished is not None
    return {
        **summary(wish.out, index),
        "already": already,
        "resumed": claim.resumed,
        "left_out": left,
        "seconds": round(time.monotonic() - begun, 3),
    }


def summary(folder: Path, index: Index) -> dict[str, Any]:
    """What a prepared folder holds, in numbers."""
    splits = {name: {"tokens": one.tokens, "documents": one.documents, "bytes": one.bytes, "shards": len(one.shards)}
              for name, one in index.splits.items()}  # fmt: skip
    tokens = sum(one.tokens for one in index.splits.values())
    size = sum(one.bytes for one in index.splits.values())
    return {
        "folder": str(folder),
        "tokenizer": asdict(index.tokenizer),
        "vocab": index.vocab,
        "dtype": index.dtype,
        "tokens": tokens,
        "documents": sum(one.documents for one in index.splits.values()),
        "bytes": size,
        "bytes_per_token": round(size / tokens, 4) if tokens else None,
        "splits": splits,
        "skipped": index.source.get("skipped", 0),
        "validation": index.source.get("validation"),
        "warnings": index.source.get("warnings", []),
        "index_sha256": indexes.sha256_of(index.to_bytes()),
    }


def _make(wish: Wish, sources: list[Source], tokenizer: Tokenizer | None, claim: Claim, fingerprint: str) -> Index:
    tokenizer = _kept(wish, sources, tokenizer)
    lengths, dtype = tokenizer.token_bytes(), dtype_for(tokenizer.vocab)
    rules = Rules(wish.shape.key, share(wish, sources, tokenizer), wish.skip_bad)
    entries = usable(wish.out, dtype, claim.entries)
    if len(entries) < len(claim.entries):
        claim.journal.begin(entries)
    streams = Streams(wish.out, dtype, wish.shard_tokens, claim.journal, entries, wish.val_tokens)
    with streams:
        _run(wish, sources, streams, rules, lengths)
        how = _validate(wish, streams, tokenizer, lengths)
        counts = streams.counts
        shards = streams.close()
        splits = {
            name: SplitIndex(sum(one.tokens for one in shards[n]), counts.documents[n], counts.bytes[n], shards[n])
            for n, name in ((TRAIN, "train"), (VAL, "val"))
            if shards[n] or n == TRAIN
        }
        return _finish(wish, sources, tokenizer, counts, splits, how, fingerprint)


def _run(wish: Wish, sources: list[Source], streams: Streams, rules: Rules, lengths: Any) -> None:
    """Everything between the sources and the streams."""
    counts = streams.counts
    advance = Advance("prepare", sum(one.size for one in sources), counts.weight, wish.quiet)
    source = blocks(sources, wish.shape, streams.position)
    with closing(work(Tokenize(wish.out, rules), source, wanted(wish, sources))) as results:
        for found, block, position in results:
            found, over = clip(found, wish.limits, sum(counts.documents), sum(counts.tokens), lengths)
            streams.add(found, position, block.weight)
            advance.tell(sum(counts.documents), sum(counts.tokens), sum(counts.bytes), counts.weight)
            if over:
                break
    advance.end()
    if not sum(counts.documents):
        skipped = f", {counts.skipped} bad ones were left out: {counts.said[0]}" if counts.skipped else ""
        raise TrainerError(f"no documents in {given(wish)}{skipped}", "give a corpus with text in it")
    if sum(counts.tokens) < 2:
        raise TrainerError(f"the corpus in {given(wish)} has one token", "give more text")


def _validate(wish: Wish, streams: Streams, tokenizer: Tokenizer, lengths: Any) -> dict[str, Any]:
    """How the validation split came about; cuts the tail of train off for it where no document fell to it."""
    if wish.val <= 0 and not wish.val_tokens:
        return {"how": "none"}
    asked = {"tokens": wish.val_tokens} if wish.val_tokens else {"share": wish.val}
    if streams.counts.tokens[VAL]:
        return {"how": "documents", **asked}
    total = streams.counts.tokens[TRAIN]
    tail = min(wish.val_tokens or round(total * wish.val), total // 2)
    if tail < 2:
        return {"how": "none", "why": "the corpus is too small", **asked}
    streams.cut_tail(tail, tokenizer.eot, lengths)
    return {"how": "tail", "why": "too few documents to choose from", **asked}


def _finish(
    wish: Wish, sources: list[Source], tokenizer: Tokenizer, counts: Counts,
    splits: dict[str, SplitIndex], how: dict[str, Any], fingerprint: str,
) -> Index:  # fmt: skip
    size = sum(counts.bytes)
    missed = abs(counts.counted - size) / max(1, size)
    warnings = []
    kept = None
    if missed > INEXACT:
        warnings.append(f"no bits per byte: the tokenizer's bytes per token miss the text by {missed:.1%}")
    else:
        content = tokenizer.token_bytes().astype("<u2").tobytes()
        kept = FileIndex(TOKEN_BYTES, indexes.sha256_of(content))
        try:
            (wish.out / TOKEN_BYTES).write_bytes(content)
        except OSError as error:
            raise full(wish.out / TOKEN_BYTES, error) from None
    if tokenizer.eot is None and sum(counts.documents) > 1 + (how["how"] == "tail"):
        warnings.append("nothing stands between documents: the tokenizer has no end-of-text (choose one with --eot)")
    source = {
        "fingerprint": fingerprint,
        "names": [one.name for one in sources[:20]],
        "files": len(sources),
        "bytes": sum(one.size for one in sources),
        "options": options(wish),
        "skipped": counts.skipped,
        "skipped_first": counts.said,
        "validation": how,
        "warnings": warnings,
    }
    named_as = TokenizerIndex(tokenizer.kind, tokenizer.name, tokenizer.eot)
    index = Index(dtype_for(tokenizer.vocab), tokenizer.vocab, named_as, kept, splits, source)
    try:
        indexes.write(wish.out, index)
    except OSError as error:
        raise full(wish.out / indexes.NAME, error) from None
    return index


def _kept(wish: Wish, sources: list[Source], tokenizer: Tokenizer | None) -> Tokenizer:
    """The tokenizer, saved in the folder. For `chars`: its alphabet by a first pass, unless an earlier attempt did."""
    if tokenizer is None and (wish.out / DESCRIPTION).exists():
        tokenizer = load(wish.out)
    elif tokenizer is None:
        tokenizer = with_eot(_alphabet(wish, sources), wish.eot)
    if wish.vocab_size and tokenizer.vocab > wish.vocab_size:
        letters = getattr(tokenizer, "alphabet", "")
        shown = f": {letters!r}" if letters and len(letters) <= 300 else ""
        what = f"{tokenizer.name} has {tokenizer.vocab} ids, --vocab-size allows {wish.vocab_size}{shown}"
        raise TrainerError(what, "clean the corpus, or allow more")
    try:
        tokenizer.save(wish.out)
    except OSError as error:
        raise full(wish.out / DESCRIPTION, error) from None
    return tokenizer


def _alphabet(wish: Wish, sources: list[Source]) -> Tokenizer:
    from trainer.data.tokenizers.characters import Characters

    seen: set[str] = set()
    documents = characters = weight = 0
    advance = Advance("alphabet", sum(one.size for one in sources), quiet=wish.quiet)
    rules = Rules(wish.shape.key, 0.0, wish.skip_bad)
    with closing(work(Collect(rules), blocks(sources, wish.shape), wanted(wish, sources))) as results:
        for found, block, _ in results:
            seen.update(found.alphabet)
            documents += found.documents
            characters += found.characters
            weight += block.weight
            advance.tell(documents, characters, characters, weight)
            if wish.limits.reached(documents, characters):
                break
    advance.end()
    if not seen:
        raise TrainerError(f"no documents in {given(wish)}", "give a corpus with text in it")
    return Characters("".join(seen))
