"""What a store's URL names, read without asking anybody; a URL with a secret in it is refused before it is kept."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trainer.errors import TrainerError

FORMS = {
    "file": "file:///folder",
    "ssh": "ssh://[user@]host[:port]/folder",
    "s3": "s3://bucket/folder",
    "gs": "gs://bucket/folder",
    "hf": "hf://[datasets/]user/name",
}
SECRETS = {
    "ssh": "use a key: an ssh agent, ~/.ssh/config, or STOKER_SSH_OPTIONS='-i FILE'",
    "s3": "put it into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials",
    "gs": "put it into a file and that file's path into GOOGLE_APPLICATION_CREDENTIALS",
    "hf": "put it into HF_TOKEN",
}
OTHER_NAMES = {
    **dict.fromkeys(("gcs", "google", "gcp"), "gs"),
    **dict.fromkeys(("sftp", "scp", "rsync"), "ssh"),
    **dict.fromkeys(("huggingface", "hub"), "hf"),
    **dict.fromkeys(("s3a", "s3n", "r2", "minio", "b2", "aws"), "s3"),
    **dict.fromkeys(("nfs", "local", "dir"), "file"),
}
TOKEN = re.compile(r"hf_[A-Za-z0-9]{16,}|(?:AKIA|ASIA)[A-Z0-9]{16}")


@dataclass(frozen=True)
class Address:
    """scheme: one of FORMS. host: of ssh, with its user; a bucket; the Hub's first path element. path: without a
    slash at the end; absolute for file and ssh ('~/...' for ssh: below the login's home), relative for the others."""

    scheme: str
    host: str
    path: str
    port: int | None = None


def parse(url: str) -> Address:
    """The address `url` names; no scheme means a folder here. Raises TrainerError, exit code 2."""
    if "://" not in url:
        return _plain(url)
    scheme, _, rest = url.partition("://")
    if scheme not in FORMS:
        meant = OTHER_NAMES.get(scheme.lower()) or (difflib.get_close_matches(scheme.lower(), FORMS, 1, 0.4) or [""])[0]
        known = ", ".join(FORMS.values())
        raise TrainerError(
            f"{scheme}:// is no kind of store" + (f"; did you mean {meant}://?" if meant else ""), f"known are {known}"
        )
    if scheme == "file":
        if not rest.startswith("/"):
            raise TrainerError(f"{url} names no absolute folder", f"write file:///{rest.lstrip('/') or 'folder'}")
        return Address("file", "", unquote(rest))
    try:
        parts = urlsplit(url)
    except ValueError:  # half an IPv6 address
        raise TrainerError(f"{scheme}:// is followed by no host", f"write {FORMS[scheme]}") from None
    _refuse_secrets(scheme, url)
    path = parts.path.rstrip("/")
    if scheme == "ssh":
        return _ssh(url, path)
    if not re.match(r"[A-Za-z0-9]", parts.netloc) or "//" in parts.path or ".." in path.split("/"):
        raise TrainerError(f"{url} does not name a store", f"write {FORMS[scheme]}")
    return Address(scheme, parts.netloc, path.lstrip("/"))


def _plain(url: str) -> Address:
    if far := re.fullmatch(r"((?:[\w.-]+@)?[\w.-]+):(/.*)", url):
        raise TrainerError(f"{url} is no URL", f"write ssh://{far[1]}{far[2]}")
    if not url.strip():
        raise TrainerError("the store's URL is empty", "known are " + ", ".join(FORMS.values()))
    try:
        return Address("file", "", str(Path(url).expanduser().absolute()))
    except RuntimeError:
        raise TrainerError(f"{url} names a home folder that is not known", "write the whole path") from None


def _refuse_secrets(scheme: str, url: str) -> None:
    """The message must not repeat the URL: it would end in a log."""
    parts = urlsplit(url)
    login, at, _ = parts.netloc.rpartition("@")
    found = ":" in login or (at and scheme != "ssh") or parts.query or TOKEN.search(url)
    if found or (scheme != "ssh" and ":" in parts.netloc):
        raise TrainerError(f"the {scheme}:// URL holds a password, token or query; URLs are logged", SECRETS[scheme])


def _ssh(url: str, path: str) -> Address:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        raise TrainerError(f"the port of {url} is no number", f"write {FORMS['ssh']}") from None
    login, at, _ = parts.netloc.rpartition("@")
    host = parts.hostname or ""
    if not host or host.startswith("-") or login.startswith("-") or not re.fullmatch(r"[\w.:%-]+", host):
        raise TrainerError(f"{url} names no host", f"write {FORMS['ssh']}")
    if not path or ".." in path.split("/"):
        raise TrainerError(f"{url} names no folder of that host", f"write {FORMS['ssh']}")
    return Address("ssh", login + at + host, path[1:] if path.startswith("/~/") else path, port)
