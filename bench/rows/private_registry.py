"""A registry on loopback that gives one small image to those who log in, and 401 to everybody else."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME = "team/train"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@contextmanager
def private_registry(user: str, password: str, profile: str) -> Iterator[str]:
    """Serves an image of `profile`; yields HOST/NAME@DIGEST."""
    held = image(profile)
    digest = next(digest for digest, (kind, _) in held.items() if kind == MANIFEST)
    login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != login:
                return self.say(401, "application/json", b"{}", {"WWW-Authenticate": 'Basic realm="private"'})
            kind, content = held.get(self.path.rpartition("/")[2], ("", b""))
            if self.path.rstrip("/") == "/v2":
                return self.say(200, "application/json", b"{}", {})
            if not kind:
                return self.say(404, "application/json", b"{}", {})
            return self.say(200, kind, content, {"Docker-Content-Digest": self.path.rpartition("/")[2]})

        do_HEAD = do_GET

        def say(self, status: int, kind: str, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}/{NAME}@{digest}"
        server.shutdown()


def image(profile: str) -> dict[str, tuple[str, bytes]]:
    """digest -> media type and content, of its manifest and configuration."""
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {"Labels": {"stoker.profile": profile}},
         "rootfs": {"type": "layers", "diff_ids": [digest_of(b"layer")]}}
    ).encode()  # fmt: skip
    kind = "application/vnd.oci.image.config.v1+json"
    layer = "application/vnd.oci.image.layer.v1.tar+gzip"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": kind, "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": layer, "digest": digest_of(b"layer"), "size": 4_000_000_000}],
        }
    ).encode()
    return {digest_of(config): (kind, config), digest_of(manifest): (MANIFEST, manifest)}


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def log_in(home: Path, reference: str, user: str, password: str) -> Path:
    """As `docker login` leaves it in `home`. The file."""
    file = home / ".docker" / "config.json"
    file.parent.mkdir()
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    file.write_text(json.dumps({"auths": {reference.partition("/")[0]: {"auth": auth}}}))
    return file
