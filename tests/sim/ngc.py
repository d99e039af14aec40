"""A base shaped like NVIDIA's NGC PyTorch image, small enough for a test: Docker media types, an index over two
platforms with an attestation beside them, NVIDIA's environment and entrypoint, and Debian's or no root file system.

Held against the facts of public probes: the names of the environment and labels are those of a real config blob.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from typing import Any

from images.oci import media
from images.oci.digest import of_bytes
from images.oci.manifest import Descriptor, Manifest, build
from images.registry.repository import Repository
from images.registry.source import BytesBlob
from images.registry.upload import push_blob

ENTRYPOINT = b"""#!/bin/sh
echo '== PyTorch ==' >&2
[ -e /proc/driver/nvidia ] || export NVIDIA_CPU_ONLY=1
exec "$@"
"""
FACTS = {
    "24.10": ("3.10", "2.5.0a0+e000cf0", "12.6.2.004", "560.35.03", "9.5.0.50", "2.22.3", "1.11"),
    "25.06": ("3.12", "2.8.0a0+5228986", "12.9.1.010", "575.57.08", "9.10.2.21", "2.27.3", "2.4.0+3cd6870"),
    "25.10": ("3.12", "2.9.0a0+145a3a7", "13.0.2.006", "580.95.05", "9.14.0.64", "2.27.7", "2.8"),
}
ARCH = {"24.10": "5.2 6.0 6.1 7.0 7.2 7.5 8.0 8.6 8.7 9.0+PTX"}
ARCH_NEW = "7.5 8.0 8.6 9.0 10.0 12.0+PTX"


def env(month: str) -> list[str]:
    """The Env of `nvcr.io/nvidia/pytorch:<month>-py3` as far as we read it."""
    python, torch, cuda, driver, cudnn, nccl, te = FACTS[month]
    packages = f"/usr/local/lib/python{python}/dist-packages"
    return [
        "PATH=/usr/local/nvidia/bin:/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        f"LD_LIBRARY_PATH={packages}/torch/lib:/usr/local/cuda/compat/lib:/usr/local/nvidia/lib64",
        f"CUDA_VERSION={cuda}",
        f"CUDA_DRIVER_VERSION={driver}",
        f"CUDNN_VERSION={cudnn}",
        f"NCCL_VERSION={nccl}",
        f"TRANSFORMER_ENGINE_VERSION={te}",
        f"PYTORCH_BUILD_VERSION={torch}",
        f"PYTORCH_VERSION={torch}",
        f"NVIDIA_PYTORCH_VERSION={month}",
        f"TORCH_CUDA_ARCH_LIST={ARCH.get(month, ARCH_NEW)}",
        "PIP_CONSTRAINT=/etc/pip/constraint.txt",
        "NVIDIA_REQUIRE_CUDA=cuda>=9.0",
        "BASH_ENV=/etc/bash.bashrc",
    ]


def layer(files: dict[str, tuple[bytes, int]]) -> bytes:
    """A tar of path -> (content, mode)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, (content, mode) in sorted(files.items()):
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), mode
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@dataclass(frozen=True)
class Ngc:
    """What was pushed. children: platform -> manifest."""

    index: Manifest
    children: dict[str, Manifest]


def push_ngc(repository: Repository, month: str, roots: tuple[bytes, ...] = ()) -> Ngc:
    """Push the base under `<month>-py3`. roots: further uncompressed tars at the bottom, such as a Debian root."""
    target = repository.for_push(())
    own = layer({"opt/nvidia/nvidia_entrypoint.sh": (ENTRYPOINT, 0o755), "etc/pip/constraint.txt": (b"", 0o644)})
    tars = [*roots, own]
    layers = []
    for tar in tars:
        blob = gzip.compress(tar, 1, mtime=0)
        descriptor = Descriptor(media.DOCKER.gzip_layer, of_bytes(blob), len(blob))
        push_blob(target, BytesBlob(blob, descriptor))
        layers.append(descriptor)
    children = {}
    for platform in ("linux/amd64", "linux/arm64"):
        manifest, config = child(platform, month, tars, layers)
        push_blob(target, BytesBlob(config, manifest.config))
        target.put_manifest(manifest.digest, manifest)
        children[platform] = manifest
    rows: list[dict[str, Any]] = []
    for platform, manifest in children.items():
        rows.append(
            {
                **manifest.descriptor.to_json(),
                "platform": dict(zip(("os", "architecture"), platform.split("/"), strict=True)),
            }
        )
    index = build({"schemaVersion": 2, "mediaType": media.DOCKER_INDEX, "manifests": rows})
    target.put_manifest(f"{month}-py3", index)
    return Ngc(index, children)


def child(platform: str, month: str, tars: list[bytes], layers: list[Descriptor]) -> tuple[Manifest, bytes]:
    """Manifest and config of one platform."""
    value = {
        "architecture": platform.split("/")[1],
        "os": "linux",
        "created": "2025-06-20T00:00:00Z",
        "docker_version": "24.0.5",
        "config": {
            "Env": env(month),
            "Entrypoint": ["/opt/nvidia/nvidia_entrypoint.sh"],
            "WorkingDir": "/workspace",
            "ExposedPorts": {"8888/tcp": {}, "6006/tcp": {}},
            "Labels": {"com.nvidia.pytorch.version": FACTS[month][1]},
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(tar).hexdigest() for tar in tars]},
        "history": [
            *({"created": "2025-06-20T00:00:00Z", "created_by": f"layer {n}"} for n in range(len(tars))),
            {"created": "2025-06-20T00:00:00Z", "created_by": "ENTRYPOINT", "empty_layer": True},
        ],
    }
    config = json.dumps(value).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": media.DOCKER_MANIFEST,
        "config": Descriptor(media.DOCKER_CONFIG, of_bytes(config), len(config)).to_json(),
        "layers": [one.to_json() for one in layers],
    }
    return Manifest(json.dumps(manifest, indent=3).encode(), media.DOCKER_MANIFEST), config
