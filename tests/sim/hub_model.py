"""Repositories of the simulated Hub: commits with their trees, branches and tags, and LFS objects on the disk."""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NUMBERS = itertools.count(1)

# What a new repository's .gitattributes names on the Hub, in part; a guess is only which of them are missing here.
ATTRIBUTES = ("7z", "arrow", "bin", "ckpt", "ftz", "gz", "h5", "joblib", "model", "msgpack", "npy", "npz", "onnx", "ot")
ATTRIBUTES += ("parquet", "pb", "pickle", "pkl", "pt", "pth", "rar", "safetensors", "tar", "tflite", "tgz", "wasm")
ATTRIBUTES += ("xz", "zip", "zst")
REGULAR_BYTES = 10 * 1000 * 1000  # larger files are LFS files


def git_oid(kind: str, data: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(data)}\0".encode() + data).hexdigest()


def pointer(sha: str, size: int) -> bytes:
    """An LFS pointer file (git-lfs, docs/spec.md)."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {size}\n".encode()


def now() -> datetime:
    return datetime.now(UTC)


def stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


@dataclass(frozen=True)
class File:
    """sha: of an LFS file."""

    size: int
    oid: str
    sha: str | None = None

    def listed(self, path: str) -> dict[str, Any]:
        """As /tree and /paths-info show it (huggingface_hub, RepoFile)."""
        shown: dict[str, Any] = {"type": "file", "oid": self.oid, "size": self.size, "path": path}
        if self.sha:
            shown["lfs"] = {"oid": self.sha, "size": self.size, "pointerSize": len(pointer(self.sha, self.size))}
        return shown


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    tree: dict[str, File]
    title: str
    message: str
    date: datetime


@dataclass
class Stored:
    """An LFS object. filename: the first path a commit gave it; until then it is in no list (a guess)."""

    sha: str
    size: int
    pushed: datetime
    filename: str | None = None


@dataclass
class Repository:
    kind: str
    name: str
    private: bool
    folder: Path
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    stored: dict[str, Stored] = field(default_factory=dict)
    believed: set[str] = field(default_factory=set)  # objects the Hub takes for stored and that are not
    created: datetime = field(default_factory=now)

    def begin(self) -> None:
        lines = "".join(f"*.{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in ATTRIBUTES).encode()
        self.commit("main", {".gitattributes": self.keep(lines)}, "initial commit", "")

    def keep(self, data: bytes) -> File:
        oid = git_oid("blob", data)
        self.blobs[oid] = data
        return File(len(data), oid)

    def large(self, sha: str, size: int) -> File:
        return File(size, git_oid("blob", pointer(sha, size)), sha)

    def commit(self, branch: str, tree: dict[str, File], title: str, message: str, root: bool = False) -> Commit:
        parent = None if root else self.branches.get(branch)
        oid = git_oid("commit", f"{self.name}{branch}{parent}{title}{sorted(tree)}{next(NUMBERS)}".encode())
        made = Commit(oid, parent, dict(tree), title, message, now())
        self.commits[oid] = made
        self.branches[branch] = oid
        for path, entry in tree.items():
            if entry.sha in self.stored and self.stored[entry.sha].filename is None:
                self.stored[entry.sha].filename = path
        return made

    def find(self, revision: str) -> Commit | None:
        """By branch, tag, oid or the first letters of one."""
        named = revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        oid = self.branches.get(named) or self.tags.get(named) or revision
        if oid in self.commits:
            return self.commits[oid]
        if re.fullmatch("[0-9a-f]{5,39}", oid):
            return next((commit for known, commit in self.commits.items() if known.startswith(oid)), None)
        return None

    def history(self, oid: str | None) -> list[Commit]:
        """Newest first."""
        found = []
        while oid is not None:
            found.append(self.commits[oid])
            oid = self.commits[oid].parent
        return found

    def reachable(self) -> set[str]:
        heads = [*self.branches.values(), *self.tags.values()]
        return {commit.oid for head in heads for commit in self.history(head)}

    def object_path(self, sha: str) -> Path:
        return self.folder / sha

    def has(self, sha: str) -> bool:
        return sha in self.stored or sha in self.believed

    def drop(self, shas: set[str]) -> None:
        for sha in shas:
            self.stored.pop(sha, None)
            self.believed.discard(sha)
            self.object_path(sha).unlink(missing_ok=True)

    def rewrite_without(self, shas: set[str]) -> None:
        """Every commit that names one of the objects, and all after it, anew without it."""
        renamed: dict[str, str] = {}
        for old in list(self.commits.values()):  # parents first
            tree = {path: entry for path, entry in old.tree.items() if entry.sha not in shas}
            if tree == old.tree and old.parent not in renamed:
                continue
            oid = git_oid("commit", f"{old.oid} without {sorted(shas)}".encode())
            parent = renamed.get(old.parent or "", old.parent)
            self.commits[oid] = Commit(oid, parent, tree, old.title, old.message, old.date)
            renamed[old.oid] = oid
        for refs in (self.branches, self.tags):
            for name, oid in refs.items():
                refs[name] = renamed.get(oid, oid)
        for oid in renamed:
            del self.commits[oid]

    def used(self) -> int:
        return sum(entry.size for entry in self.stored.values())

    def collect_garbage(self) -> None:
        """What the Hub does about every 36 hours (hub-docs pull 1646): objects no commit in reach names go."""
        named = {entry.sha for oid in self.reachable() for entry in self.commits[oid].tree.values()}
        self.drop(set(self.stored) - named)


class Repositories:
    """All of them, under one lock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self.all: dict[tuple[str, str], Repository] = {}

    def create(self, kind: str, name: str, private: bool) -> Repository:
        folder = self.folder / f"{kind}--{name.replace('/', '--')}-{next(NUMBERS)}"
        folder.mkdir(parents=True)
        made = Repository(kind, name, private, folder)
        made.begin()
        self.all[kind, name] = made
        return made

    def used_by(self, user: str) -> int:
        return sum(repository.used() for (_, name), repository in self.all.items() if name.startswith(f"{user}/"))
