"""What refers to an image: SBOM, signature, provenance.

distribution-spec "Listing Referrers", "Pushing Manifests with Subject", and the referrers tag schema as fall-back.
"""

from __future__ import annotations

from typing import Any

from images.oci import digest as digests
from images.oci import media
from images.oci.manifest import Descriptor, Manifest, build
from images.registry import errors
from images.registry.repository import MANIFEST_LIMIT, Repository, parse_json, read_all

ROUNDS = 5  # tries against someone else's write to the fall-back tag


def fallback_tag(digest: str) -> str:
    """`sha256-<hex>`: the tag that lists referrers where the server does not."""
    return "sha256-" + digests.hex_of(digest)


def referrers(repository: Repository, digest: str, artifact_type: str | None = None) -> list[Descriptor]:
    """Descriptors of what refers to `digest`, from the server's list or the fall-back tag; [] if nothing does."""
    index = listed(repository, digest) or tagged(repository, digest)
    found = index.children if index is not None else []
    if artifact_type is None:
        return found
    return [descriptor for descriptor in found if descriptor.extra.get("artifactType") == artifact_type]


def listed(repository: Repository, digest: str) -> Manifest | None:
    """The server's own list; None where it keeps none (404, and whatever else is not an index)."""
    headers = {"Accept": media.OCI_INDEX}
    path = f"referrers/{digests.checked(digest)}"
    with repository.request("GET", path, headers=headers, accept=(400, 404, 405, 406)) as response:
        kind = (response.header("content-type") or "").partition(";")[0].strip()
        if response.status != 200 or kind != media.OCI_INDEX:
            return None
        raw = read_all(response, MANIFEST_LIMIT, "the list of referrers")
    parse_json(raw, repository)
    return Manifest(raw, media.OCI_INDEX)


def tagged(repository: Repository, digest: str) -> Manifest | None:
    """The index at the fall-back tag. Raises RegistryError when something else is there."""
    try:
        found = repository.manifest(fallback_tag(digest))
    except errors.Missing:
        return None
    if not found.is_index:
        raise errors.RegistryError(
            f"{repository}:{fallback_tag(digest)} is not an index", "delete that tag, or push to another repository"
        )
    return found


def put_referrer(repository: Repository, manifest: Manifest) -> str:
    """Stores a manifest that has a `subject` and returns its digest; its blobs must be there.

    Keeps the fall-back tag where the server does not answer with OCI-Subject. Raises RegistryError when others keep
    overwriting that tag.
    """
    subject = Descriptor.from_json(manifest.json.get("subject"))
    repository = repository.for_push()
    headers = {"Content-Type": manifest.media_type}
    path = f"manifests/{manifest.digest}"
    with repository.request("PUT", path, headers=headers, body=manifest.raw) as response:
        stated, supported = response.header("docker-content-digest"), response.header("oci-subject")
    if stated and stated != manifest.digest:
        raise errors.DigestMismatch(f"{repository}: the registry stored {stated}, sent was {manifest.digest}")
    if not supported:
        keep_tag(repository, subject.digest, entry_of(manifest))
    return manifest.digest


def entry_of(manifest: Manifest) -> dict[str, Any]:
    """How the fall-back index lists it: artifactType (else the config's type) and all annotations are copied."""
    value = manifest.json
    config = value.get("config") or {}
    entry: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": len(manifest.raw),
        "artifactType": value.get("artifactType") or config.get("mediaType", ""),
    }
    if value.get("annotations"):
        entry["annotations"] = value["annotations"]
    return entry


def keep_tag(repository: Repository, subject: str, entry: dict[str, Any]) -> None:
    """Adds an entry once. Two writers can race: after the write the tag is read again, and the loser repeats."""
    tag = fallback_tag(subject)
    for _ in range(ROUNDS):
        found = tagged(repository, subject)
        entries = list(found.json.get("manifests", [])) if found is not None else []
        if any(item.get("digest") == entry["digest"] for item in entries):
            return
        base = dict(found.json) if found is not None else {"schemaVersion": 2}
        repository.put_manifest(tag, build({**base, "mediaType": media.OCI_INDEX, "manifests": [*entries, entry]}))
    raise errors.RegistryError(
        f"{repository}:{tag}: others keep overwriting the list of referrers", "run the same command again"
    )
