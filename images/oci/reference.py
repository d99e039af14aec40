"""Image references as people type them: `[host[:port]/]path[:tag][@sha256:hex]`.

Grammar: distribution/reference regexp.go and distribution-spec "Pulling manifests". Names without a host mean Docker
Hub, and one-part names there mean `library/`, as every engine reads them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from images.oci import digest as digests
from profiles.errors import WrongInput

HUB = "docker.io"
PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"{PART}(?:/{PART})*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
HOST = re.compile(rf"(?:{LABEL}(?:\.{LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")
LONGEST = 255  # host and name together, "in many clients" (distribution-spec, "Pulling manifests")


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is called to live: a mirror changes where its bytes come from, never this value."""

    registry: str  # 'nvcr.io', 'docker.io', '127.0.0.1:5000', '[::1]:5000'
    repository: str  # 'nvidia/pytorch'
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def target(self) -> str:
        """What a manifest request asks for: the digest, else the tag, else 'latest'."""
        return self.digest or self.tag or "latest"

    def with_tag(self, tag: str) -> Reference:
        """The same repository at another tag. Raises WrongInput."""
        return replace(self, tag=checked_tag(tag), digest=None)

    def with_digest(self, digest: str) -> Reference:
        """The same reference pinned to a digest. Raises WrongInput."""
        return replace(self, digest=digests.checked(digest))

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def checked_tag(text: str) -> str:
    """`text` if it is a tag. Raises WrongInput."""
    if not TAG.fullmatch(text):
        raise WrongInput(
            f"not a tag: {text[:140]!r}", "a tag has 1 to 128 of A-Z a-z 0-9 _ . - and begins with a letter, digit or _"
        )
    return text


def parse(text: str) -> Reference:
    """The reference `text` means, Docker Hub's short names filled in. Raises WrongInput saying what to change."""
    rest, at, digest = text.partition("@")
    if "://" in rest:
        raise WrongInput(f"not an image reference: {text[:200]!r}", f"leave out {rest.partition('://')[0]}://")
    if at:
        digests.checked(digest)
    head, colon, tag = rest.rpartition(":")
    if colon and "/" not in tag and head:
        rest = head
        checked_tag(tag)
    else:
        tag = ""
    registry, repository = split_host(rest)
    check_repository(repository, text)
    if not HOST.fullmatch(registry):
        raise WrongInput(f"not a registry host: {registry[:200]!r} in {text[:200]!r}", "write it as host or host:port")
    if (port := re.search(r":([0-9]{1,5})$", registry)) and not 0 < int(port[1]) < 1 << 16:
        raise WrongInput(f"no such port: {port[1]} in {text[:200]!r}", "a port is between 1 and 65535")
    if len(registry) + 1 + len(repository) > LONGEST:
        raise WrongInput(f"reference is longer than {LONGEST} characters: {text[:60]}...", "use a shorter repository")
    return Reference(registry, repository, tag or None, digest or None)


def split_host(name: str) -> tuple[str, str]:
    """Host and repository of a name. The first part is a host if it has a dot or a port, or is `localhost`."""
    first, slash, rest = name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first):
        host = first.lower()
        if host in ("index.docker.io", "registry-1.docker.io"):
            host = HUB
        return host, f"library/{rest}" if host == HUB and rest and "/" not in rest else rest
    return HUB, name if slash else f"library/{name}"


def check_repository(repository: str, text: str) -> None:
    """Raises WrongInput with the nearest name that would do."""
    if REPOSITORY.fullmatch(repository):
        return
    if not repository or repository == "library/":
        raise WrongInput(f"no repository in {text[:200]!r}", "write it as host/path:tag")
    nearest = re.sub(r"[^a-z0-9._/-]+", "-", repository.lower())
    nearest = "/".join(re.sub(r"[._-]{2,}", "-", part).strip("._-") for part in nearest.split("/") if part.strip("._-"))
    hint = f"did you mean {nearest!r}?" if REPOSITORY.fullmatch(nearest) else "use lower-case letters, digits and . _ -"
    problem = "has upper-case letters" if repository != repository.lower() else "is not a repository name"
    raise WrongInput(f"{repository[:200]!r} {problem}", hint)
