"""The image that is deployed is named by digest, lies where a rented machine can pull it, and brings its login."""

from __future__ import annotations

import base64
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fleet.deploy.image import choose, newest, refuse_unreachable
from images.progress import Silent
from images.store import Store
from images.workbench import Workbench
from profiles.errors import WrongInput
from tests.conftest import ROOT
from tests.fleet.deploy.built import Built, build_small
from tests.fleet.deploy.shelf import IMAGE

LOGIN = base64.b64encode(b"reader:pass-that-is-planted").decode()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, registry: str, ngc: str) -> Built:
    return build_small(tmp_path_factory.mktemp("built"), registry, ngc, "chosen")


@pytest.fixture
def bench(built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return Workbench(ROOT, Store(built.copy_state(tmp_path / "state")), {}, Silent())


@pytest.fixture
def gatekeeper(registry: str) -> Iterator[str]:
    """The same registry behind a door that opens for one login only; HOST:PORT."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != f"Basic {LOGIN}":
                return self.answer(401, {"WWW-Authenticate": 'Basic realm="test"'}, b"{}")
            asked = urllib.request.Request(f"http://{registry}{self.path}", method=self.command)
            asked.add_header("Accept", self.headers.get("Accept", "*/*"))
            try:
                with urllib.request.urlopen(asked, timeout=10) as found:
                    return self.answer(found.status, dict(found.headers), found.read())
            except urllib.error.HTTPError as error:
                with error:
                    return self.answer(error.code, {}, error.read())

        do_HEAD = do_GET

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            length = headers.get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def log_in(folder: Path, host: str, login: str) -> None:
    (folder / "docker").mkdir(exist_ok=True)
    (folder / "docker" / "config.json").write_text(json.dumps({"auths": {host: {"auth": login}}}))


def test_the_image_built_last_is_chosen_by_digest_from_where_it_was_pushed(bench: Workbench, built: Built):
    found = choose(bench)
    assert found.reference == f"{built.home}@{built.digest}"
    assert (found.profile, found.tag, found.login) == ("small", built.tag, None)
    assert found.size > 0 and found.unpacked > found.size


def test_a_reference_is_taken_as_it_is_named(bench: Workbench, built: Built):
    for text in (f"{built.home}:{built.tag}", f"{built.home}@{built.digest}"):
        assert choose(bench, named=text).reference == f"{built.home}@{built.digest}"


def test_a_tag_that_somebody_pushed_over_is_not_taken_for_ours(bench: Workbench, built: Built):
    for path in bench.store.images.glob("*.json"):
        row = json.loads(path.read_text())
        path.write_text(json.dumps({**row, "digest": "sha256:" + "0" * 64}))
    with pytest.raises(WrongInput, match="another image than the one built here"):
        choose(replace(bench, settings={"registry": built.home}))


def test_a_private_image_brings_the_user_s_login_and_shows_no_password(
    bench: Workbench, built: Built, gatekeeper: str, tmp_path: Path
):
    log_in(tmp_path, gatekeeper, LOGIN)
    found = choose(bench, named=f"{gatekeeper}/chosen:{built.tag}")
    assert found.login is not None and found.login.user == "reader"
    assert found.login.password == "pass-that-is-planted"
    assert "planted" not in repr(found)


def test_a_private_image_without_a_login_says_how_to_log_in(bench: Workbench, built: Built, gatekeeper: str):
    with pytest.raises(WrongInput, match="is private, and there is no login") as refused:
        choose(bench, named=f"{gatekeeper}/chosen:{built.tag}")
    assert f"docker login {gatekeeper}" in refused.value.next_step


def test_an_image_that_is_not_there_says_so(bench: Workbench, built: Built):
    with pytest.raises(WrongInput, match="it has not been pushed"):
        choose(bench, named=f"{built.home}:nothing")


def test_no_image_at_all_says_how_to_build_one(tmp_path: Path):
    bare = Workbench(ROOT, Store(tmp_path / "state"), {}, Silent())
    with pytest.raises(WrongInput, match="no image has been built here"):
        newest(bare)
    with pytest.raises(WrongInput, match="no image of profile h200-fp8"):
        newest(bare, "h200-fp8")


def test_a_registry_of_this_machine_is_refused_for_machines_elsewhere():
    refuse_unreachable(IMAGE, ["vast"])
    refuse_unreachable(replace(IMAGE, here=True), [])
    with pytest.raises(WrongInput, match="cannot pull from it"):
        refuse_unreachable(replace(IMAGE, here=True), ["vast"])
