"""The same files give the same layer on every machine: umask, time zone, locale, home, user, place, file times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
    import json, os, sys
    os.umask(int(sys.argv[3], 8))
    from pathlib import Path
    from images.layers.blob import write_layer
    from images.layers.sources import Sources
    from images.layers.tree import tree
    from images.oci import media
    from images.plan import Layer
    root, out = Path(sys.argv[1]), Path(sys.argv[2])
    inputs = tree(root, "app", "opt/stoker/app")
    blobs = [write_layer(Sources(root).entries(inputs), media.OCI, name, out) for name in ("gzip", "zstd")]
    print(json.dumps([Layer("trainer", inputs).key] + [[b.diff_id, b.descriptor.digest] for b in blobs]))
"""


def build(folder: Path, umask: str, user: int | None = None, **environment: str) -> list[object]:
    """Makes the checkout anew under `folder` with its own umask, and builds its layer in another process."""
    app = folder / "app"
    app.mkdir(parents=True)
    files = {"main.py": b"x = 1\n", "straße 日本.txt": "ü".encode(), "Z": b"", "a-b": b"1", "run.sh": b"#!/bin/sh\n"}
    for name, data in reversed(files.items()) if umask == "077" else files.items():
        path = app / os.fsdecode(name.encode())
        path.write_bytes(data)
        path.chmod((0o777 if name == "run.sh" else 0o666) & ~int(umask, 8))
        os.utime(path, (time.time() - int(umask, 8) * 1000,) * 2)
    (app / "link").symlink_to("main.py")
    command = [sys.executable, "-B", "-c", textwrap.dedent(PROGRAM), str(folder), str(folder / "out"), umask]
    keep = {key: value for key, value in os.environ.items() if key in ("PATH", "LD_LIBRARY_PATH")}
    if user is not None:
        subprocess.run(["chown", "-R", str(user), str(folder)], check=True)
    done = subprocess.run(command, cwd=ROOT, env=keep | environment, capture_output=True, check=True)
    result: list[object] = json.loads(done.stdout)
    return result


def test_nothing_of_the_machine_reaches_the_digest(tmp_path: Path) -> None:
    plain = build(tmp_path / "one", "022", TZ="UTC", LANG="C.UTF-8", HOME="/root")
    odd = build(
        tmp_path / "another place" / "ünder",
        "077",
        user=12345 if os.geteuid() == 0 else None,
        TZ="Pacific/Kiritimati",
        LC_ALL="C",
        PYTHONCOERCECLOCALE="0",
        PYTHONUTF8="0",
        HOME="/nonexistent",
        USER="someone",
        SOURCE_DATE_EPOCH="5",
        PYTHONHASHSEED="7",
    )
    assert odd == plain


def test_other_content_gives_another_digest(tmp_path: Path) -> None:
    plain = build(tmp_path / "one", "022")
    (tmp_path / "one" / "app" / "main.py").write_bytes(b"x = 2\n")
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path / "one"), str(tmp_path / "out"), "022"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    assert all(mine != theirs for mine, theirs in zip(json.loads(done.stdout), plain, strict=True))
