"""hf://[models/|datasets/]USER/REPO[@REVISION][/PATH]: where on the Hugging Face Hub a store lies.

The grammar is huggingface_hub's own for hf:// (its utils/_hf_uris.py), without the kinds that keep no checkpoints.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from trainer.errors import TrainerError

SHAPE = "hf://USER/REPO, hf://datasets/USER/REPO, hf://USER/REPO@BRANCH/FOLDER"
KINDS = {"models": "model", "datasets": "dataset"}
OTHER_KINDS = ("spaces", "buckets", "kernels")
# huggingface_hub/utils/_validators.py: letters, digits, - _ ., at most 96, neither `--` nor `..`, no .git at the end.
NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")
# Revisions with a slash in them that the grammar takes as they are; others are written with %2F.
SLASHED = re.compile(r"(refs/(?:pr|convert)/[^/]+)(?:/(.*))?")


@dataclass(frozen=True)
class Address:
    """A folder of a repository. kind: model or dataset; folder: "" or with slashes, neither at its begin nor end."""

    kind: str
    repository: str
    revision: str = "main"
    folder: str = ""

    def path(self, name: str) -> str:
        """The path in the repository of a name in this folder."""
        return f"{self.folder}/{name}" if self.folder else name

    def name(self, path: str) -> str:
        """The name in this folder of a path below it."""
        return path[len(self.folder) + 1 :] if self.folder else path

    @property
    def url(self) -> str:
        revision = "" if self.revision == "main" else "@" + quote(self.revision, safe="")
        kind = {kind: prefix for prefix, kind in KINDS.items()}[self.kind]
        return f"hf://{kind}/{self.repository}{revision}" + (f"/{self.folder}" if self.folder else "")


def parse(url: str) -> Address:
    """The address in an hf:// URL. HF_REPO_TYPE (model or dataset) decides where the URL does not say.

    Raises TrainerError (exit code 2) for anything else, without repeating what may be a secret in it.
    """
    if not url.startswith("hf://"):
        raise TrainerError("not a Hugging Face Hub URL: it does not begin with hf://", f"write {SHAPE}")
    parts = url[len("hf://") :].strip("/").split("/")
    if parts[0] in OTHER_KINDS:
        raise TrainerError(f"hf://{parts[0]}/ holds no checkpoints", "use a model or a dataset repository")
    kind = KINDS[parts.pop(0)] if parts[0] in KINDS else _kind_wanted()
    if len(parts) < 2:
        raise TrainerError("the hf:// URL names no repository", f"write {SHAPE}")
    user, rest = parts[0], "/".join(parts[1:])
    repository, revision, folder = _split(rest)
    if not (NAME.fullmatch(user) and NAME.fullmatch(repository)) or repository.endswith(".git"):
        raise TrainerError("the hf:// URL does not name USER/REPO as the Hub allows it", f"write {SHAPE}")
    if not revision or any(part in ("", ".", "..") for part in folder.split("/") if folder):
        raise TrainerError("the hf:// URL has an empty revision, or . or .. in its path", f"write {SHAPE}")
    return Address(kind, f"{user}/{repository}", revision, folder)


def _split(rest: str) -> tuple[str, str, str]:
    """REPO[@REVISION][/PATH] in its three parts."""
    repository, mark, after = rest.partition("@")
    if not mark or "/" in repository:  # an @ further on belongs to the path
        repository, _, folder = rest.partition("/")
        return repository, "main", folder
    if slashed := SLASHED.fullmatch(after):
        return repository, slashed[1], slashed[2] or ""
    revision, _, folder = after.partition("/")
    return repository, unquote(revision), folder


def _kind_wanted() -> str:
    wanted = os.environ.get("HF_REPO_TYPE", "").strip() or "model"
    if wanted not in KINDS.values():
        raise TrainerError(f"HF_REPO_TYPE is {wanted!r}", "set it to model or dataset, or leave it out")
    return wanted


def private_wanted() -> bool:
    """Whether a repository that is created shall be private: yes, unless HF_PRIVATE says no."""
    wanted = os.environ.get("HF_PRIVATE", "").strip().lower()
    if wanted in ("", "1", "true", "yes", "on"):
        return True
    if wanted in ("0", "false", "no", "off"):
        return False
    raise TrainerError(f"HF_PRIVATE is {wanted!r}", "set it to true or false, or leave it out")
