"""Writes one layer of so many random bytes and pushes it: what the row `memory` measures the peak of.

bench/one_layer.py FOLDER HOST:PORT/NAME BYTES
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from images.layers.blob import write_layer
from images.layers.tar import Entry
from images.oci import media
from images.registry.registries import Registries
from images.registry.source import FileBlob
from images.registry.upload import push_blob

PIECE = 1 << 20


def main(folder: Path, repository: str, size: int) -> None:
    folder.mkdir(parents=True)
    content = folder / "content"
    with Path("/dev/urandom").open("rb") as source, content.open("wb") as out:
        for start in range(0, size, PIECE):
            out.write(source.read(min(PIECE, size - start)))
    entry = Entry("opt/stoker/content", "file", size=size, open=lambda: content.open("rb"))
    blob = write_layer([entry], media.OCI, "gzip", folder / "layout")
    push_blob(Registries().repository(repository).for_push(()), FileBlob(blob.path, blob.descriptor))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
