from __future__ import annotations

import base64
import json
import os
import warnings
from pathlib import Path

import pytest

from images.registry.credentials import Credentials
from images.registry.errors import LoginNeeded, Missing, RegistryError
from images.registry.registries import Registries
from images.registry.upload import Chunking, push_blob
from tests.images.registry.conftest import QUICK, bytes_blob, noise, running_registry
from tests.sim.fault_proxy import FaultProxy, Seen
from tests.sim.token_gate import Answer, TokenGate

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        import crypt
    except ImportError:  # Python 3.13
        crypt = None

MB = 1 << 20


@pytest.fixture
def gate(proxy: FaultProxy) -> TokenGate:
    proxy.gate = TokenGate(proxy)
    return proxy.gate


def logged_in(tmp_path: Path, host: str, entry: dict[str, str]) -> Registries:
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: entry}}))
    environ = {"DOCKER_CONFIG": str(tmp_path), "PATH": os.environ["PATH"]}
    return Registries(credentials=Credentials(environ), policy=QUICK)


def basic(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def token_calls(proxy: FaultProxy) -> int:
    return proxy.count(".*", "^/token")


def test_one_anonymous_token_serves_a_whole_push(
    registries: Registries, proxy: FaultProxy, gate: TokenGate, name: str
) -> None:
    target = registries.repository(f"{proxy.host}/{name}").for_push()
    for seed in range(3):
        push_blob(target, bytes_blob(noise(100, seed)))
    assert token_calls(proxy) == 1
    assert gate.issued == [[f"repository:{name}:pull", f"repository:{name}:pull,push"]]


def test_a_password_goes_to_the_token_service_only(tmp_path: Path, proxy: FaultProxy, gate: TokenGate) -> None:
    gate.users = {"me": "secret"}
    with logged_in(tmp_path, proxy.host, basic("me", "secret")) as registries:
        push_blob(registries.repository(f"{proxy.host}/auth/x"), bytes_blob(b"1"))
    for seen in proxy.seen:
        expected = "Basic" if seen.path.startswith("/token") else "Bearer"
        assert seen.headers.get("authorization", expected).split()[0] == expected


def test_a_wrong_password_names_the_login_command(tmp_path: Path, proxy: FaultProxy, gate: TokenGate) -> None:
    gate.users = {"me": "secret"}
    with (
        logged_in(tmp_path, proxy.host, basic("me", "hunter2")) as registries,
        pytest.raises(LoginNeeded, match="refused the login") as caught,
    ):
        registries.repository(f"{proxy.host}/x/y").manifest()
    assert f"docker login {proxy.host}" in caught.value.next_step
    assert "hunter2" not in f"{caught.value} {caught.value.next_step} {caught.value!r}"


def test_a_narrow_token_is_renewed_with_the_missing_scope_first(
    registries: Registries, proxy: FaultProxy, gate: TokenGate, name: str
) -> None:
    gate.only_first_scope = True
    push_blob(registries.repository(f"{proxy.host}/{name}"), bytes_blob(noise(100, 31)))
    assert [scopes[0] for scopes in gate.issued][-1] == f"repository:{name}:pull,push"


def test_a_mount_has_its_source_in_the_same_token(
    registries: Registries, registry: str, proxy: FaultProxy, gate: TokenGate, name: str
) -> None:
    blob = bytes_blob(noise(100, 32))
    push_blob(registries.repository(f"{registry}/{name}-base"), blob)
    target = registries.repository(f"{proxy.host}/{name}")
    assert push_blob(target, blob, mount_from=[f"{name}-base"]).how == "mounted"
    assert token_calls(proxy) == 1
    assert f"repository:{name}-base:pull" in gate.issued[0]


def test_a_token_that_ends_in_the_middle_of_a_blob_costs_one_chunk(
    registries: Registries, proxy: FaultProxy, gate: TokenGate, name: str
) -> None:
    gate.uses = 4  # HEAD, POST and two chunks
    blob = bytes_blob(noise(5 * MB, 33))
    target = registries.repository(f"{proxy.host}/{name}")
    push_blob(target, blob, chunking=Chunking(MB, MB))
    assert target.has_blob(blob.descriptor.digest)
    assert proxy.count("POST", "/blobs/uploads/") == 1, "the same upload goes on"
    assert proxy.body_bytes() <= 7 * MB


@pytest.mark.parametrize("key", ["token", "access_token"])
@pytest.mark.parametrize("more", ["", "Negotiate", 'Digest realm="x", nonce="a,b"'])
def test_challenges_and_answers_come_in_many_forms(
    registries: Registries, proxy: FaultProxy, gate: TokenGate, key: str, more: str
) -> None:
    gate.answer_key, gate.more_challenges = key, more
    with pytest.raises(Missing):
        registries.repository(f"{proxy.host}/nothing/here").manifest()


def test_a_token_service_without_a_token_is_an_error(
    registries: Registries, proxy: FaultProxy, gate: TokenGate
) -> None:
    gate.answer_key = "jeton"
    with pytest.raises(RegistryError, match="without a token"):
        registries.repository(f"{proxy.host}/x/y").manifest()


@pytest.mark.parametrize(("post_status", "posts"), [(200, 1), (404, 1)])
def test_an_identity_token_is_exchanged_where_the_server_can(
    tmp_path: Path, proxy: FaultProxy, gate: TokenGate, post_status: int, posts: int
) -> None:
    gate.refresh_tokens, gate.post_status = {"long-lived"}, post_status
    with (
        logged_in(tmp_path, proxy.host, {"identitytoken": "long-lived"}) as registries,
        pytest.raises(Missing),
    ):
        registries.repository(f"{proxy.host}/x/y").manifest()
    assert proxy.count("POST", "^/token") == posts
    assert proxy.count("GET", "^/token") == (0 if post_status == 200 else 1)


def test_a_registry_token_is_used_as_it_is(tmp_path: Path, proxy: FaultProxy, gate: TokenGate) -> None:
    gate.give(["repository:x/y:pull"])
    with (
        logged_in(tmp_path, proxy.host, {"registrytoken": "t0"}) as registries,
        pytest.raises(Missing),
    ):
        registries.repository(f"{proxy.host}/x/y").manifest()
    assert token_calls(proxy) == 0


@pytest.mark.parametrize(
    "realm",
    ["http://169.254.169.254/latest/meta-data", "http://10.0.0.1/token", "http://127.0.0.1:1/token", "file:///etc/x"],
)
def test_a_realm_inside_our_network_is_refused(
    registries: Registries, proxy: FaultProxy, gate: TokenGate, realm: str
) -> None:
    gate.realm = realm
    with pytest.raises(RegistryError, match="refused to ask"):
        registries.repository(f"{proxy.host}/x/y").manifest()


def test_a_token_call_does_not_follow_a_redirect_inside(
    registries: Registries, proxy: FaultProxy, gate: TokenGate
) -> None:
    gate.realm = f"http://{proxy.host}/moved"
    inner = gate.__call__

    def moved(seen: Seen) -> Answer | None:
        if seen.path.startswith("/moved"):
            return 302, {"Location": "http://169.254.169.254/token"}, b""
        return inner(seen)

    proxy.gate = moved
    with pytest.raises(RegistryError, match="refused to ask"):
        registries.repository(f"{proxy.host}/x/y").manifest()


@pytest.mark.skipif(crypt is None or crypt.METHOD_BLOWFISH not in crypt.methods, reason="needs crypt's bcrypt")
def test_basic_logins_work_against_a_real_registry(tmp_path: Path) -> None:
    password_file = tmp_path / "htpasswd"
    text = "me:" + crypt.crypt("secret", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16))
    password_file.write_text(text + "\n")
    more = f"auth: {{htpasswd: {{realm: test, path: {password_file}}}}}"
    with running_registry(tmp_path, more) as host:
        with logged_in(tmp_path, host, basic("me", "secret")) as registries:
            assert push_blob(registries.repository(f"{host}/x"), bytes_blob(b"abc")).how == "uploaded"
        with (
            logged_in(tmp_path, host, basic("me", "wrong")) as registries,
            pytest.raises(LoginNeeded, match=f"{host}/x: access was refused"),
        ):
            registries.repository(f"{host}/x").manifest()


def test_a_token_service_that_is_unwell_is_asked_again(
    registries: Registries, proxy: FaultProxy, gate: TokenGate
) -> None:
    answers = iter([503, 429])
    inner = gate.__call__

    def unwell(seen: Seen) -> Answer | None:
        if seen.path.startswith("/token") and (status := next(answers, None)):
            return status, {"Retry-After": "0"}, b""
        return inner(seen)

    proxy.gate = unwell
    with pytest.raises(Missing):
        registries.repository(f"{proxy.host}/x/y").manifest()
