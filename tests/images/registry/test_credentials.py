from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from images.registry.credentials import ANONYMOUS, Credential, Credentials
from profiles.errors import OutsideFailed, WrongInput


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".docker").mkdir()
    return tmp_path


def written(home: Path, value: Any, path: str = ".docker/config.json", **environ: str) -> Credentials:
    (home / path).parent.mkdir(parents=True, exist_ok=True)
    (home / path).write_text(value if isinstance(value, str) else json.dumps(value))
    return Credentials({"HOME": str(home), "PATH": f"{home}:/usr/bin:/bin", **environ}, helper_seconds=0.5)


def helper(home: Path, name: str, script: str) -> None:
    path = home / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_nobody_is_logged_in(tmp_path: Path) -> None:
    assert Credentials({"HOME": str(tmp_path)}).lookup("ghcr.io") == ANONYMOUS


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"auth": coded("me:a:b")}, Credential("me", "a:b")),
        ({"username": "me", "password": "x"}, Credential("me", "x")),
        ({"identitytoken": "long"}, Credential(identity_token="long")),
        ({"registrytoken": "ready"}, Credential(registry_token="ready")),
        ({}, ANONYMOUS),
    ],
)
def test_each_form_of_a_login_is_read(home: Path, entry: dict[str, str], found: Credential) -> None:
    assert written(home, {"auths": {"ghcr.io": entry}}).lookup("ghcr.io", "a/b") == found


def test_the_repository_s_own_login_goes_before_the_host_s(home: Path) -> None:
    logins = {"ghcr.io": {"auth": coded("host:1")}, "ghcr.io/acme": {"auth": coded("acme:2")}}
    credentials = written(home, {"auths": logins})
    assert credentials.lookup("ghcr.io", "acme/trainer").username == "acme"
    assert credentials.lookup("ghcr.io", "acmeX/trainer").username == "host"


@pytest.mark.parametrize("key", ["https://ghcr.io", "https://ghcr.io/v1/", "http://ghcr.io/v2/", "ghcr.io"])
def test_a_key_may_be_a_url(home: Path, key: str) -> None:
    assert written(home, {"auths": {key: {"auth": coded("me:x")}}}).lookup("ghcr.io").username == "me"


def test_docker_hub_has_its_own_key(home: Path) -> None:
    credentials = written(home, {"auths": {"https://index.docker.io/v1/": {"auth": coded("me:x")}}})
    assert credentials.lookup("docker.io", "library/debian").username == "me"


def test_a_helper_is_asked_for_its_host(home: Path) -> None:
    helper(home, "vault", """read host; echo "{\\"Username\\": \\"me@$host\\", \\"Secret\\": \\"s\\"}" """)
    credentials = written(home, {"credHelpers": {"nvcr.io": "vault"}, "auths": {"ghcr.io": {"auth": coded("g:x")}}})
    assert credentials.lookup("nvcr.io") == Credential("me@nvcr.io", "s")
    assert credentials.lookup("ghcr.io").username == "g"


def test_the_store_is_asked_for_an_empty_entry(home: Path) -> None:
    helper(home, "desk", """echo '{"Username": "<token>", "Secret": "identity"}'""")
    credentials = written(home, {"credsStore": "desk", "auths": {"ghcr.io": {}}})
    assert credentials.lookup("ghcr.io") == Credential(identity_token="identity")


def test_a_store_that_knows_nothing_means_anonymous(home: Path) -> None:
    helper(home, "desk", "echo 'credentials not found in native keychain'; exit 1")
    assert written(home, {"credsStore": "desk"}).lookup("ghcr.io") == ANONYMOUS


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo locked >&2; exit 3", "exit code 3: locked"),
        ("sleep 5", "did not answer within 0.5 s"),
        ("echo nothing", "did not answer with JSON"),
    ],
)
def test_a_helper_that_fails_is_quoted(home: Path, script: str, says: str) -> None:
    helper(home, "desk", script)
    with pytest.raises(OutsideFailed, match=says):
        written(home, {"credsStore": "desk"}).lookup("ghcr.io")


def test_a_helper_that_is_not_there_is_named(home: Path) -> None:
    with pytest.raises(OutsideFailed, match="docker-credential-gone is not installed"):
        written(home, {"credsStore": "gone"}).lookup("ghcr.io")


def test_podman_s_logins_are_read_where_docker_has_none(home: Path) -> None:
    value = {"auths": {"ghcr.io": {"auth": coded("pod:x")}}}
    assert written(home, value, ".config/containers/auth.json").lookup("ghcr.io").username == "pod"
    assert written(home, value, "run/containers/auth.json", XDG_RUNTIME_DIR=f"{home}/run").lookup("ghcr.io").basic
    assert written(home, value, "mine.json", REGISTRY_AUTH_FILE=f"{home}/mine.json").lookup("ghcr.io").basic


def test_docker_config_moves_the_folder(home: Path) -> None:
    value = {"auths": {"ghcr.io": {"auth": coded("other:x")}}}
    credentials = written(home, value, "elsewhere/config.json", DOCKER_CONFIG=f"{home}/elsewhere")
    assert credentials.lookup("ghcr.io").username == "other"


@pytest.mark.parametrize("text", ["{", '{"auths": {"ghcr.io": {"auth": "%%%"}}}'])
def test_a_broken_file_is_wrong_input(home: Path, text: str) -> None:
    with pytest.raises(WrongInput):
        written(home, text).lookup("ghcr.io")


def test_secrets_are_not_printed() -> None:
    shown = repr(Credential("me", "hunter2", "identity", "registry"))
    assert "me" in shown
    assert not {"hunter2", "identity'", "registry'"} & set(shown.split("'"))
