"""Media types of the two families, Docker v2 schema 2 and OCI, which must never be mixed in one manifest.

Source: opencontainers/image-spec media-types.md; distribution/distribution docs/spec/manifest-v2-2.
"""

from __future__ import annotations

from dataclasses import dataclass

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

INDEXES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST))


@dataclass(frozen=True, slots=True)
class Family:
    """The media types that belong together."""

    name: str
    index: str
    manifest: str
    config: str
    gzip_layer: str
    zstd_layer: str | None  # zstd exists only in OCI (image-spec layer.md)
    annotations: bool  # annotations and subject belong to OCI manifests only


OCI = Family("oci", OCI_INDEX, OCI_MANIFEST, OCI_CONFIG, OCI_LAYER + "+gzip", OCI_LAYER + "+zstd", True)
DOCKER = Family("docker", DOCKER_INDEX, DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER + ".gzip", None, False)

TO_OCI = {
    DOCKER_INDEX: OCI_INDEX,
    DOCKER_MANIFEST: OCI_MANIFEST,
    DOCKER_CONFIG: OCI_CONFIG,
    DOCKER_LAYER: OCI_LAYER,
    DOCKER_LAYER + ".gzip": OCI_LAYER + "+gzip",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    ),
}


def family_of(manifest_type: str) -> Family:
    """The family of a manifest or index media type (parameters ignored)."""
    plain = manifest_type.partition(";")[0].strip()
    return DOCKER if plain in (DOCKER_MANIFEST, DOCKER_INDEX) else OCI


def foreign(layer_type: str) -> bool:
    """Non-distributable layers keep their `urls` and are never uploaded (image-spec layer.md, deprecated)."""
    return "foreign" in layer_type or "nondistributable" in layer_type
