"""Signatures that cosign verifies, and the verification of those that cosign made.

sigstore/cosign specs/SIGNATURE_SPEC.md: a payload in the "simple signing" form is a layer of an OCI manifest at the
tag `sha256-<hex>.sig`, its signature an annotation of that layer. One manifest holds all signatures of an image.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from images.checks.keys import private_key, public_key
from images.oci import media
from images.oci.digest import hex_of, of_bytes
from images.oci.manifest import Descriptor, Manifest, build, canonical
from images.registry.errors import Missing, RegistryError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

    from images.registry.repository import Repository

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
KIND = "cosign container image signature"
ROUNDS = 5  # tries against someone else's signature at the same moment


def tag_of(digest: str) -> str:
    """Where the signatures of a manifest are."""
    return f"sha256-{hex_of(digest)}.sig"


def sign_image(target: Repository, image: Descriptor, key: Path) -> str:
    """Signs the manifest `image` and puts the signature beside those that are there. Returns the signatures' tag.

    Nothing is sent when this key has signed it already. The same key and image give the same signature (RFC 6979).
    Raises WrongInput for a key that cannot be used, the errors of images.registry.errors.
    """
    from images.registry.source import BytesBlob
    from images.registry.upload import push_blob

    private = private_key(key)
    target = target.for_push()
    payload = payload_of(target.reference.name, image.digest)
    tag = tag_of(image.digest)
    layer = None
    for _ in range(ROUNDS):
        found = signatures(target, image.digest)
        if any(is_by(private.public_key(), target, one, image.digest) for one in (found.layers if found else [])):
            return tag
        if layer is None:
            signature = base64.b64encode(signed(private, payload)).decode()
            layer = Descriptor(PAYLOAD, of_bytes(payload), len(payload), {"annotations": {SIGNATURE: signature}})
            push_blob(target, BytesBlob(payload, layer))
        config, manifest = with_layer(found, layer)
        push_blob(target, BytesBlob(config, manifest.config))
        target.put_manifest(tag, manifest)
    raise RegistryError(f"{target}:{tag}: others keep overwriting the signatures", "run the same command again")


def payload_of(name: str, digest: str) -> bytes:
    """The signed text. name: registry and repository, which verifiers ignore."""
    identity, image = {"docker-reference": name}, {"docker-manifest-digest": digest}
    return canonical({"critical": {"identity": identity, "image": image, "type": KIND}, "optional": None})


def signed(private: Any, payload: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    signature: bytes = private.sign(payload, ECDSA(SHA256(), deterministic_signing=True))
    return signature


def with_layer(found: Manifest | None, layer: Descriptor) -> tuple[bytes, Manifest]:
    """Config and manifest of the signatures that were there and one more, in the form cosign writes."""
    before = dict(found.json) if found is not None else {"schemaVersion": 2, "mediaType": media.OCI_MANIFEST}
    layers = [*(found.layers if found is not None else []), layer]
    epoch = "0001-01-01T00:00:00Z"
    config = canonical(
        {
            "architecture": "",
            "config": {},
            "created": epoch,
            "history": [{"created": epoch} for _ in layers],
            "os": "",
            "rootfs": {"type": "layers", "diff_ids": [one.digest for one in layers]},
        }
    )
    descriptor = Descriptor(media.OCI_CONFIG, of_bytes(config), len(config))
    value = {**before, "config": descriptor.to_json(), "layers": [one.to_json() for one in layers]}
    return config, build({**value, "mediaType": media.OCI_MANIFEST})


def signatures(repository: Repository, digest: str) -> Manifest | None:
    """The manifest of an image's signatures; None when nobody has signed it."""
    try:
        return repository.manifest(tag_of(digest))
    except Missing:
        return None


def is_by(key: EllipticCurvePublicKey, repository: Repository, layer: Descriptor, digest: str) -> bool:
    """Whether a layer is a signature over `digest` by the owner of `key`."""
    return layer.media_type == PAYLOAD and not fault_of(key, repository, layer, digest)


def fault_of(key: EllipticCurvePublicKey, repository: Repository, layer: Descriptor, digest: str) -> str:
    """Why a signature does not hold; '' when it does."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    payload = repository.blob(layer)
    try:
        signature = base64.b64decode(layer.annotations.get(SIGNATURE, ""), validate=True)
        key.verify(signature, payload, ECDSA(SHA256()))
    except (InvalidSignature, binascii.Error):
        return "it is not by this key, or its text was changed"
    try:
        critical = json.loads(payload)["critical"]
        named, kind = critical["image"]["docker-manifest-digest"], critical["type"]
    except (ValueError, KeyError, TypeError):
        return "the signed text is no cosign payload"
    if kind != KIND or named != digest:
        return f"it signs another image ({str(named)[:19]})"
    return ""


def faults(repository: Repository, digest: str, key: Path) -> list[str]:
    """Why the image does not count as signed by `key` (a public key); empty when it does.

    One good signature is enough, as for cosign. Raises WrongInput for a key that cannot be used.
    """
    public = public_key(key)
    found = signatures(repository, digest)
    layers = [layer for layer in (found.layers if found else []) if layer.media_type == PAYLOAD]
    if not layers:
        return ["nobody has signed it; push with --sign KEY"]
    reasons = [fault_of(public, repository, layer, digest) for layer in layers]
    return [] if "" in reasons else reasons
