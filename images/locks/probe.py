"""Read a base's facts from the registry: index, child manifest and config blob, no layers, no login for NGC."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from images.oci.manifest import Manifest, child_for
from profiles.errors import CheckFailed, OutsideFailed

if TYPE_CHECKING:
    from images.registry.repository import Repository

# config.Env of NGC's PyTorch images; NVIDIA_PYTORCH_VERSION is the container's month, not torch's version.
ENV = {
    "container": ("NVIDIA_PYTORCH_VERSION",),
    "torch": ("PYTORCH_BUILD_VERSION", "PYTORCH_VERSION"),
    "cuda": ("CUDA_VERSION",),
    "driver": ("CUDA_DRIVER_VERSION",),
    "cudnn": ("CUDNN_VERSION",),
    "nccl": ("NCCL_VERSION",),
    "transformer_engine": ("TRANSFORMER_ENGINE_VERSION",),
    "tensorrt": ("TRT_VERSION",),
    "arch_list": ("TORCH_CUDA_ARCH_LIST",),
    "modelopt": ("MODEL_OPT_VERSION",),
    "nvrx": ("NVRX_VERSION",),
    "hpcx": ("HPCX_VERSION",),
    "openmpi": ("OPENMPI_VERSION",),
}
PYTHON = re.compile(r"/(?:lib/)?python(3\.\d+)\b")


@dataclass(frozen=True, slots=True)
class Probed:
    """One platform of a base. size: bytes of its layers, compressed."""

    digest: str
    index_digest: str | None
    media_type: str
    size: int
    facts: Mapping[str, str] = field(default_factory=dict)


def probe(repository: Repository, reference: str, platform: str) -> Probed:
    """The base that `reference` (a tag or digest) names now. Raises OutsideFailed: not there, not for this platform."""
    top = repository.manifest(reference)
    index_digest = None
    manifest = top
    if top.is_index:
        index_digest = top.digest
        manifest = repository.manifest(child_for(top, platform).digest)
    config = json.loads(repository.blob(manifest.config))
    found = f"{config.get('os')}/{config.get('architecture')}"
    if found != platform:
        raise OutsideFailed(f"{reference} is an image for {found}, not for {platform}", "set platforms: in the profile")
    return Probed(manifest.digest, index_digest, manifest.media_type, layers_size(manifest), facts_of(config))


def layers_size(manifest: Manifest) -> int:
    return sum(layer.size for layer in manifest.layers)


def facts_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The versions in a config's Env; what is not there is left out, never guessed."""
    env = dict(item.partition("=")[::2] for item in (config.get("config") or {}).get("Env") or [])
    facts = {}
    for fact, names in ENV.items():
        value = next((env[name] for name in names if env.get(name)), None)
        if value:
            facts[fact] = value
    # The minor version of Python stands only in paths (LD_LIBRARY_PATH of NGC; PYTHON_VERSION of python images).
    if env.get("PYTHON_VERSION"):
        facts["python"] = env["PYTHON_VERSION"]
    elif found := PYTHON.search(env.get("LD_LIBRARY_PATH", "") + ":" + env.get("PATH", "")):
        facts["python"] = found.group(1)
    return facts


def python_minor(facts: Mapping[str, str], table: str | None) -> str:
    """'3.12' from the probed facts, else from the base table. Raises CheckFailed: guessing breaks the image."""
    version = facts.get("python") or table
    if not version:
        raise CheckFailed(
            "the base does not say which Python it has", "add the tag to profiles/tables/bases.yaml with its Python"
        )
    return ".".join(version.split(".")[:2])
