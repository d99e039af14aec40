from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from images.registry.address import Settings, inner_address, is_loopback, origin_of
from images.registry.credentials import Credentials
from images.registry.errors import Unreachable
from images.registry.registries import Registries
from profiles.errors import WrongInput
from tests.images.registry.conftest import QUICK, SmallImage, running_registry


def test_mirrors_are_read_from_one_line() -> None:
    settings = Settings.from_env({"STOKER_MIRROR": "nvcr.io=127.0.0.1:5000/cache/ngc, docker.io=mirror.gcr.io,"})
    assert settings.resolve("nvcr.io", "nvidia/pytorch") == ("127.0.0.1:5000", "cache/ngc/nvidia/pytorch")
    assert settings.resolve("docker.io", "library/debian") == ("mirror.gcr.io", "library/debian")
    assert settings.resolve("ghcr.io", "a/b") == ("ghcr.io", "a/b")


@pytest.mark.parametrize("text", ["nvcr.io", "=x", "nvcr.io=http://x", "nvcr.io=", "nvcr.io=x/UPPER"])
def test_what_is_no_mirror_is_wrong_input(text: str) -> None:
    with pytest.raises(WrongInput, match="not a mirror"):
        Settings.from_env({"STOKER_MIRROR": text})


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "127.0.0.1:1", "[::1]:5000", "a.localhost"])
def test_loopback_hosts(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["nvcr.io", "localhost.evil.com", "10.0.0.1", "128.0.0.1:5000"])
def test_other_hosts(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fe80::1", "::ffff:10.0.0.1"])
def test_inner_addresses(host: str) -> None:
    assert inner_address(host)
    assert not inner_address("nvcr.io")


def test_default_ports_are_filled_in() -> None:
    assert origin_of("https://a/x") == origin_of("https://a:443/y")
    assert origin_of("http://a") != origin_of("https://a")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=x",
            "-keyout",
            "key.pem",
            "-out",
            "cert.pem",
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    return tmp_path / "cert.pem"


def test_a_loopback_registry_may_speak_tls(certificate: Path, tmp_path: Path, no_login: Credentials) -> None:
    """Plain HTTP is tried first; a port that answers TLS is then spoken to in TLS, with any certificate."""
    from images.registry.push import push_image

    key = certificate.with_name("key.pem")
    tls = f", tls: {{certificate: {certificate}, key: {key}}}"
    with (
        running_registry(tmp_path, tls=tls) as host,
        Registries(credentials=no_login, policy=QUICK) as registries,
    ):
        repository = registries.repository(f"{host}/x")
        push_image(SmallImage([b"over tls"]), repository, ["v1"])
        assert repository.transport.origin.scheme == "https"
        assert repository.manifest("v1").digest == SmallImage([b"over tls"]).manifest.digest


def test_nobody_listening_is_said_at_once(no_login: Credentials) -> None:
    with Registries(credentials=no_login) as registries, pytest.raises(Unreachable, match="refused") as caught:
        registries.repository("127.0.0.1:9/x").manifest()
    assert caught.value.attempt == 1
