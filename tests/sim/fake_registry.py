"""A registry in the test process that keeps to the distribution specification where Docker's own does not.

Above all: bytes of a PATCH or PUT that was cut stay, and the status request says how many there are. Every quirk that
is known of other registries is a switch. Blobs and manifests are in memory.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

PIECE = 1 << 14


@dataclass
class Quirks:
    """What this registry does beside the specification."""

    relative_location: bool = True
    min_chunk: int = 0  # bytes: OCI-Chunk-Min-Length, enforced
    max_chunk: int = 0  # bytes: OCI-Chunk-Max-Length, enforced with 413
    status_code: int = 204  # some answer the status request with 202
    zero_range: bool = True  # `Range: 0-0` for an empty upload, as distribution does
    no_chunks: bool = False  # 416 to every PATCH with a Content-Range
    digest_header: bool = True
    content_type_suffix: str = ""  # '; charset=utf-8'
    subjects: bool = True  # OCI-Subject and the list of referrers
    lie_stored: str = ""  # Docker-Content-Digest of every PUT
    warning: str = ""
    ranges: bool = True  # honours Range on blobs
    redirect_blobs: str = ""  # blob GETs go to this base URL
    page: int = 0  # tags per page
    expire: int = 0  # the next n requests to an upload find it forgotten
    etags: bool = False


@dataclass
class Call:
    """One request. body: bytes of it that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: int = 0
    status: int = 0


@dataclass
class Upload:
    repository: str
    data: bytearray = field(default_factory=bytearray)
    state: int = 0


class SmallWindow(ThreadingHTTPServer):
    """Takes little in advance, so that what a client has sent is nearly what has arrived."""

    daemon_threads = True

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        super().server_bind()


class FakeRegistry:
    """Listens on a free loopback port; `host` goes into references."""

    def __init__(self, **quirks: Any) -> None:
        self.quirks = Quirks(**quirks)
        self.blobs: dict[str, dict[str, bytes]] = {}
        self.manifests: dict[str, dict[str, tuple[str, bytes]]] = {}
        self.uploads: dict[str, Upload] = {}
        self.calls: list[Call] = []
        self.cuts: list[tuple[str, int]] = []  # method, and bytes of the body after which the connection is cut
        self.pace = 0.0  # seconds between pieces of request bodies: a slow uplink
        self.lock = threading.Lock()
        registry = self

        class Handler(Answering):
            fake = registry

        self.server = SmallWindow(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> FakeRegistry:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def count(self, method: str, path: str = "") -> int:
        return len(self.requests(method, path))

    def requests(self, method: str = ".*", path: str = "") -> list[Call]:
        return [c for c in list(self.calls) if re.fullmatch(method, c.method) and re.search(path, c.path)]

    def body_bytes(self) -> int:
        """Bytes of blobs that arrived, again and again counted."""
        return sum(call.body for call in self.requests(path="/blobs/uploads/"))


class Answering(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    fake: FakeRegistry
    ROUTES = (
        (r"/v2/", "ping"),
        (r"/v2/(?P<repository>.+)/blobs/uploads/", "open_upload"),
        (r"/v2/(?P<repository>.+)/blobs/uploads/(?P<key>[^/]+)", "upload"),
        (r"/v2/(?P<repository>.+)/blobs/(?P<digest>[^/]+)", "blob"),
        (r"/v2/(?P<repository>.+)/manifests/(?P<target>[^/]+)", "manifest"),
        (r"/v2/(?P<repository>.+)/tags/list", "tags"),
        (r"/v2/(?P<repository>.+)/referrers/(?P<digest>[^/]+)", "referrers"),
    )

    def log_message(self, format: str, *args: object) -> None: ...

    def dispatch(self) -> None:
        self.parts = urlsplit(self.path)
        self.query = parse_qs(self.parts.query)
        self.length = int(self.headers.get("content-length") or 0)
        self.call = Call(self.command, self.path, {k.lower(): v for k, v in self.headers.items()})
        with self.fake.lock:
            self.fake.calls.append(self.call)
        for pattern, method in self.ROUTES:
            if match := re.fullmatch(pattern, self.parts.path):
                getattr(self, method)(**match.groupdict())
                return
        self.fail(404, "NAME_UNKNOWN")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = dispatch

    # answers

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.call.status = status
        self.send_response(status)
        headers = dict(headers or {})
        if self.fake.quirks.warning:
            headers["Warning"] = f'299 - "{self.fake.quirks.warning}"'
        if status != 204:
            headers.setdefault("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fail(self, status: int, code: str) -> None:
        while self.call.body < self.length:
            if not self.take():
                break
        self.answer(status, {}, json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode())

    def take(self) -> bytes:
        """The next piece of the body; cuts the connection where a test wants it."""
        room = min(PIECE, self.length - self.call.body)
        cut = next((c for c in self.fake.cuts if c[0] == self.command), None)
        if cut is not None:
            room = min(room, cut[1] - self.call.body)
        piece = self.rfile.read(room) if room else b""
        self.call.body += len(piece)
        time.sleep(self.fake.pace)
        if cut is not None and self.call.body >= cut[1]:
            self.fake.cuts.remove(cut)
            self.unfinished = piece
            raise ConnectionAbortedError
        return piece

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    # the specification

    def ping(self) -> None:
        self.answer(200, {}, b"{}")

    def open_upload(self, repository: str) -> None:
        fake = self.fake
        while self.call.body < self.length and self.take():
            pass
        mount, source = self.query.get("mount"), self.query.get("from", [""])[0]
        if mount and mount[0] in fake.blobs.get(source, {}):
            fake.blobs.setdefault(repository, {})[mount[0]] = fake.blobs[source][mount[0]]
            return self.answer(
                201, {"Docker-Content-Digest": mount[0], "Location": f"/v2/{repository}/blobs/{mount[0]}"}
            )
        key = f"u{len(fake.uploads)}"
        fake.uploads[key] = Upload(repository)
        limits = {}
        if fake.quirks.min_chunk:
            limits["OCI-Chunk-Min-Length"] = str(fake.quirks.min_chunk)
        if fake.quirks.max_chunk:
            limits["OCI-Chunk-Max-Length"] = str(fake.quirks.max_chunk)
        return self.answer(202, {**self.place(key), **limits})

    def place(self, key: str) -> dict[str, str]:
        """A new Location with every answer; the old one is no longer good."""
        upload = self.fake.uploads[key]
        upload.state += 1
        path = f"/v2/{upload.repository}/blobs/uploads/{key}?_state={upload.state}&keep=a%2Bb"
        base = "" if self.fake.quirks.relative_location else f"http://{self.fake.host}"
        size = len(upload.data)
        ranged = {"Range": f"0-{max(size - 1, 0)}"} if size or self.fake.quirks.zero_range else {}
        return {"Location": base + path, **ranged}

    def upload(self, repository: str, key: str) -> None:
        fake, quirks = self.fake, self.fake.quirks
        upload = fake.uploads.get(key)
        if quirks.expire > 0:
            quirks.expire -= 1
            fake.uploads.pop(key, None)
            upload = None
        state = int(self.query.get("_state", ["0"])[0])
        # Only the status request may come with an old Location: a client that missed an answer has no newer one.
        right = upload is not None and (state == upload.state or (self.command == "GET" and 0 < state <= upload.state))
        if upload is None or not right or self.query.get("keep") != ["a+b"]:
            return self.fail(404, "BLOB_UPLOAD_UNKNOWN")
        if self.command == "GET":
            return self.answer(quirks.status_code, self.place(key))
        if self.command == "DELETE":
            del fake.uploads[key]
            return self.answer(204)
        if self.command == "PATCH" and not self.chunk_is_right(upload):
            return None
        while self.call.body < self.length:
            try:
                piece = self.take()
            except ConnectionAbortedError:
                upload.data += self.unfinished
                raise
            if not piece:
                raise ConnectionResetError
            upload.data += piece
        if self.command == "PATCH":
            return self.answer(202, self.place(key))
        return self.close_upload(repository, key, bytes(upload.data))

    def chunk_is_right(self, upload: Upload) -> bool:
        quirks, ranged = self.fake.quirks, self.headers.get("content-range", "")
        match = re.fullmatch(r"(\d+)-(\d+)", ranged)
        if quirks.no_chunks or match is None or int(match[1]) != len(upload.data):
            self.fail(416, "BLOB_UPLOAD_INVALID" if not quirks.no_chunks else "UNSUPPORTED")
            return False
        if int(match[2]) - int(match[1]) + 1 != self.length:
            self.fail(400, "SIZE_INVALID")
            return False
        if quirks.max_chunk and self.length > quirks.max_chunk:
            self.fail(413, "SIZE_INVALID")
            return False
        return True

    def close_upload(self, repository: str, key: str, data: bytes) -> None:
        digest = self.query.get("digest", [""])[0]
        del self.fake.uploads[key]
        if digest != "sha256:" + hashlib.sha256(data).hexdigest():
            return self.fail(400, "DIGEST_INVALID")
        self.fake.blobs.setdefault(repository, {})[digest] = data
        stored = self.fake.quirks.lie_stored or digest
        headers = {"Docker-Content-Digest": stored} if self.fake.quirks.digest_header else {}
        return self.answer(201, {"Location": f"/v2/{repository}/blobs/{digest}", **headers})

    def blob(self, repository: str, digest: str) -> None:
        data = self.fake.blobs.get(repository, {}).get(digest)
        if data is None:
            return self.fail(404, "BLOB_UNKNOWN")
        if self.command == "GET" and self.fake.quirks.redirect_blobs:
            return self.answer(307, {"Location": f"{self.fake.quirks.redirect_blobs}{self.parts.path}?signature=x"})
        begin = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        if begin and self.fake.quirks.ranges:
            first = int(begin[1])
            return self.answer(206, {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}, data[first:])
        return self.answer(200, {}, data)

    def manifest(self, repository: str, target: str) -> None:
        held = self.fake.manifests.setdefault(repository, {})
        if self.command == "PUT":
            raw = self.rfile.read(self.length)
            digest = "sha256:" + hashlib.sha256(raw).hexdigest()
            held[target] = held[digest] = (self.headers["content-type"], raw)
            headers = {"Docker-Content-Digest": self.fake.quirks.lie_stored or digest}
            subject = (json.loads(raw).get("subject") or {}).get("digest")
            if subject and self.fake.quirks.subjects:
                headers["OCI-Subject"] = subject
            return self.answer(201, headers)
        if target not in held:
            return self.fail(404, "MANIFEST_UNKNOWN")
        if self.command == "DELETE":
            del held[target]
            return self.answer(202)
        kind, raw = held[target]
        headers = {"Content-Type": kind + self.fake.quirks.content_type_suffix}
        if self.fake.quirks.digest_header:
            headers["Docker-Content-Digest"] = "sha256:" + hashlib.sha256(raw).hexdigest()
        return self.answer(200, {**headers, "Content-Length": str(len(raw))}, raw)

    def tags(self, repository: str) -> None:
        tags = sorted(t for t in self.fake.manifests.get(repository, {}) if ":" not in t)
        last, page = self.query.get("last", [""])[0], self.fake.quirks.page
        left = [tag for tag in tags if tag > last]
        headers = {}
        if page and len(left) > page:
            left = left[:page]
            headers["Link"] = f'</v2/{repository}/tags/list?n={page}&last={left[-1]}>; rel="next"'
        self.answer(200, headers, json.dumps({"name": repository, "tags": left}).encode())

    def referrers(self, repository: str, digest: str) -> None:
        if not self.fake.quirks.subjects:
            return self.fail(404, "NOT_FOUND")
        found = []
        for target, (kind, raw) in self.fake.manifests.get(repository, {}).items():
            value = json.loads(raw)
            if target.startswith("sha256:") and (value.get("subject") or {}).get("digest") == digest:
                entry = {"mediaType": kind, "digest": target, "size": len(raw)}
                found.append(entry | {"artifactType": value.get("artifactType", "")})
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": found}
        return self.answer(200, {"Content-Type": index["mediaType"]}, json.dumps(index).encode())
