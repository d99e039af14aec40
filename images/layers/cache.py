"""What a layer came out as last time, so that unchanged layers are neither tarred nor compressed again.

ko's idea (ko-build/ko pkg/build/cache.go): input key -> diff_id and descriptor. One small file per layer, replaced
atomically: any number of builds may share the folder, and the worst a lost race costs is one layer built again.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from images.layers import compress, tar
from images.layers.blob import LayerBlob, blob_path
from images.oci import digest as digests
from images.oci.incoming import incoming, room
from images.oci.manifest import Descriptor, canonical
from images.oci.media import Family
from profiles.errors import WrongInput


class LayerCache:
    """Layers known by plan.Layer.key and compressor; their blobs lie in the OCI layout folder `layout`."""

    def __init__(self, folder: Path, layout: Path) -> None:
        self.folder, self.layout = folder / "layers", layout

    def row(self, key: str, compression: str) -> Path:
        """Where one layer is remembered. The tar format and the compressor's version are part of the name."""
        wish = canonical([key, compress.compressor(compression).id, tar.FORMAT])
        return self.folder / f"{hashlib.sha256(wish).hexdigest()}.json"

    def known(self, key: str, compression: str, family: Family) -> LayerBlob | None:
        """What the layer came out as, whether or not its blob is still here: enough when the registry has it.

        Raises WrongInput when the family has no such compression.
        """
        media_type = compress.media_type(compression, family)
        try:
            value = json.loads(self.row(key, compression).read_bytes())
            descriptor = Descriptor(media_type, digests.checked(value["digest"]), int(value["size"]))
            diff_id = digests.checked(value["diff_id"])
            path = blob_path(self.layout, descriptor.digest)
            return LayerBlob(descriptor, diff_id, path, int(value["files"]), str(value["compressor"]))
        except (
            OSError,
            ValueError,
            TypeError,
            KeyError,
            WrongInput,
        ):  # absent or damaged: the layer is simply built again
            return None

    def find(self, key: str, compression: str, family: Family) -> LayerBlob | None:
        """The same, but only with its blob in place at full length. The blob becomes young: gc leaves it alone."""
        blob = self.known(key, compression, family)
        with suppress(OSError):
            if blob is not None and blob.path.stat().st_size == blob.descriptor.size:
                os.utime(blob.path)
                return blob
        return None

    def keep(self, key: str, compression: str, blob: LayerBlob) -> None:
        """Remembers a layer that has been written. Raises OutsideFailed on a full disk."""
        value = {
            "digest": blob.descriptor.digest,
            "size": blob.descriptor.size,
            "diff_id": blob.diff_id,
            "files": blob.files,
            "compressor": blob.compressor,
            "key": key,
        }
        data = canonical(value)
        self.folder.mkdir(parents=True, exist_ok=True)
        with room(self.folder, len(data), "the layer cache"), incoming(self.folder / "incoming") as fresh:
            fresh.file.write(data)
            fresh.place(self.row(key, compression))
