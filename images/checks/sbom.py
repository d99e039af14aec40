"""The SBOM beside the image: attached as an OCI referrer, and read back.

image-spec manifest.md, "Guidelines for Artifact Usage"; where a registry keeps no list of referrers, the fall-back tag
of images.registry.referrers stands in.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from images.checks.bill import sbom_of, serial_number
from images.oci import media
from images.oci.digest import of_bytes
from images.oci.manifest import Descriptor, Manifest, build
from images.registry.errors import Missing
from profiles.errors import CheckFailed, StokerError

if TYPE_CHECKING:
    from images.build import Resolved
    from images.builders.image import Image
    from images.registry.repository import Repository

ARTIFACT = "application/vnd.cyclonedx+json"
EMPTY = b"{}"
CREATED = "org.opencontainers.image.created"
FORMAT = "stoker.sbom"  # annotation: which form of our SBOM this is, and of which plan
NUMBER = "1"  # change it with any change of what bill.py writes


def attach_to(repository: Repository, image: Image, resolved: Resolved) -> str | None:
    """Attaches the SBOM of a pushed image; returns the referrer's digest, None when it is there already."""
    mark = f"{NUMBER}-{image.plan.hash}"
    for listed in repository.referrers(image.digest, ARTIFACT):
        if listed.annotations.get(FORMAT) == mark:
            return None
    return attach(repository, image.manifest.descriptor, sbom_of(image, resolved), {FORMAT: mark})


def attach(repository: Repository, subject: Descriptor, sbom: bytes, annotations: dict[str, str] | None = None) -> str:
    """Stores `sbom` as a referrer of the manifest `subject`, which must be in the repository. Returns its digest.

    The annotation `created` is the SBOM's own timestamp: the same SBOM gives the same referrer. Raises RegistryError.
    """
    from images.registry.source import BytesBlob
    from images.registry.upload import push_blob

    layer = Descriptor(ARTIFACT, of_bytes(sbom), len(sbom))
    config = Descriptor(media.OCI_EMPTY, of_bytes(EMPTY), len(EMPTY))
    for data, descriptor in ((sbom, layer), (EMPTY, config)):
        push_blob(repository, BytesBlob(data, descriptor))
    created = json.loads(sbom)["metadata"]["timestamp"]
    value = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "artifactType": ARTIFACT,
        "config": config.to_json(),
        "layers": [layer.to_json()],
        "subject": Descriptor(subject.media_type, subject.digest, subject.size).to_json(),
        "annotations": {CREATED: created, **(annotations or {})},
    }
    return repository.put_referrer(build(value))


def read_all(repository: Repository, digest: str) -> list[dict[str, Any]]:
    """The SBOMs attached to an image, oldest first. Raises CheckFailed, DigestMismatch or RegistryError for one that
    cannot be read."""
    return [read(repository, listed, digest) for listed in repository.referrers(digest, ARTIFACT)]


def read(repository: Repository, listed: Descriptor, digest: str) -> dict[str, Any]:
    """One SBOM, checked against the image it is listed for."""
    manifest: Manifest = repository.manifest(listed.digest)
    if (manifest.json.get("subject") or {}).get("digest") != digest:
        raise CheckFailed(f"{listed.digest[:19]} is listed as an SBOM of {digest[:19]} but belongs to something else")
    if len(manifest.layers) != 1:
        raise CheckFailed(f"the SBOM {listed.digest[:19]} has {len(manifest.layers)} layers instead of one")
    try:
        value = json.loads(repository.blob(manifest.layers[0]))
    except ValueError:
        value = None
    if not isinstance(value, dict) or value.get("bomFormat") != "CycloneDX":
        raise CheckFailed(f"the SBOM {listed.digest[:19]} is not CycloneDX JSON")
    return value


def faults(repository: Repository, digest: str, plan_hash: str) -> tuple[list[str], str]:
    """What is wrong with the SBOM of an image, and what to say when nothing is. plan_hash: of the image's label."""
    try:
        documents = read_all(repository, digest)
    except Missing as missing:
        return [f"listed, but not there: {missing.what}"], ""
    except StokerError as failed:
        return [failed.what], ""
    if not documents:
        return ["none is attached; push the image again"], ""
    found = [document for document in documents if document.get("serialNumber") == serial_number(digest)]
    if not found:
        return ["the attached SBOM is not this image's: its serial number belongs to another digest"], ""
    for document in found:
        component = document.get("metadata", {}).get("component", {})
        hashes = [row.get("content") for row in component.get("hashes", [])]
        plans = [row.get("value") for row in component.get("properties", []) if row.get("name") == "stoker:plan"]
        if hashes != [digest.removeprefix("sha256:")] or plans != [plan_hash]:
            return ["the attached SBOM names another image or plan"], ""
    return [], f"{len(found[0].get('components', []))} components"
