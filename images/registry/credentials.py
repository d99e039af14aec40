"""Who we are at a registry: what `docker login`, `podman login` and credential helpers have stored.

Sources: docker/cli cli/config/configfile and docs "docker login"; containers-auth.json(5); order of files as
go-containerregistry pkg/authn/keychain.go. Read at use and asked again after a late 401: ECR's passwords live 12 hours.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from profiles.errors import OutsideFailed, WrongInput

HUB_KEY = "https://index.docker.io/v1/"  # Docker Hub's key, whatever the reference says
HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
HELPER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Credential:
    """A user and password, or an identity (refresh) token, or a token to be used as it is. Prints no secret."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def anonymous(self) -> bool:
        return not (self.username or self.password or self.identity_token or self.registry_token)

    @property
    def basic(self) -> str | None:
        """The value of a Basic Authorization header."""
        if not self.username and not self.password:
            return None
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


ANONYMOUS = Credential()


class Credentials:
    """Looks a registry up in the login files that `environ` points at."""

    def __init__(self, environ: Mapping[str, str] | None = None, helper_seconds: float = HELPER_SECONDS) -> None:
        self.environ = os.environ if environ is None else environ
        self.helper_seconds = helper_seconds

    def lookup(self, host: str, repository: str = "") -> Credential:
        """What is stored for `host`; a key for the repository goes before one for the host. Anonymous if nothing is.

        Raises WrongInput for a file that is not JSON, OutsideFailed for a helper that fails.
        """
        config = self.config()
        for key in keys_for(host, repository):
            found = self.entry(config, key)
            if not found.anonymous:
                return found
        return ANONYMOUS

    def config(self) -> dict[str, Any]:
        """The first login file that exists, as JSON."""
        for path in self.paths():
            try:
                value = json.loads(path.read_bytes() or b"{}")
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise WrongInput(f"cannot read {path}: {error.strerror}", "make it readable or move it away") from None
            except ValueError:
                raise WrongInput(f"{path} is not JSON", "repair it, or move it away and log in again") from None
            return value if isinstance(value, dict) else {}
        return {}

    def paths(self) -> list[Path]:
        env = self.environ
        home = Path(env.get("HOME") or "/nonexistent")
        docker = Path(env["DOCKER_CONFIG"]) if env.get("DOCKER_CONFIG") else home / ".docker"
        paths = [docker / "config.json"]
        if env.get("REGISTRY_AUTH_FILE"):
            paths.append(Path(env["REGISTRY_AUTH_FILE"]))
        if env.get("XDG_RUNTIME_DIR"):
            paths.append(Path(env["XDG_RUNTIME_DIR"]) / "containers/auth.json")
        base = Path(env["XDG_CONFIG_HOME"]) if env.get("XDG_CONFIG_HOME") else home / ".config"
        return [*paths, base / "containers/auth.json"]

    def entry(self, config: Mapping[str, Any], key: str) -> Credential:
        """credHelpers, then auths with something in it, then credsStore."""
        bare = key.removeprefix("https://").removesuffix("/v1/")
        helpers = config.get("credHelpers") or {}
        if helper := helpers.get(key) or helpers.get(bare):
            return self.ask(str(helper), key)
        stored = ANONYMOUS
        for name, entry in (config.get("auths") or {}).items():
            if name == key or plain_key(name) == plain_key(key):
                stored = credential_of(entry if isinstance(entry, dict) else {}, name)
                break
        # An entry `{}` only says that the store has it; docker asks the store first, and so do we.
        if store := config.get("credsStore"):
            asked = self.ask(str(store), key)
            return stored if asked.anonymous else asked
        return stored

    def ask(self, helper: str, key: str) -> Credential:
        """What `docker-credential-<helper> get` says for `key`. Raises OutsideFailed, quoting its stderr."""
        program = f"docker-credential-{helper}"
        if "/" in helper:
            raise WrongInput(f"not a credential helper: {helper!r}", "name it without a path in config.json")
        step = f"run `echo {key} | {program} get` to see what is wrong, or log in again"
        try:
            done = subprocess.run(
                [program, "get"],
                input=key.encode(),
                capture_output=True,
                timeout=self.helper_seconds,
                env=dict(self.environ),
                check=False,
            )
        except FileNotFoundError:
            raise OutsideFailed(f"{program} is not installed, but config.json asks for it", step) from None
        except subprocess.TimeoutExpired:
            raise OutsideFailed(f"{program} did not answer within {self.helper_seconds:g} s", step) from None
        if done.returncode:
            said = (done.stdout + b" " + done.stderr).decode("utf-8", "replace")
            if "credentials not found" in said:  # docker/docker-credential-helpers credentials/error.go
                return ANONYMOUS
            quoted = " ".join(done.stderr.decode("utf-8", "replace").split())[:200]
            raise OutsideFailed(f"{program} failed with exit code {done.returncode}: {quoted}", step)
        try:
            answer = json.loads(done.stdout)
            user, secret = str(answer.get("Username", "")), str(answer.get("Secret", ""))
        except (ValueError, AttributeError):
            raise OutsideFailed(f"{program} did not answer with JSON", step) from None
        return Credential(identity_token=secret) if user == "<token>" else Credential(user, secret)


def keys_for(host: str, repository: str) -> list[str]:
    """The keys to try, most specific first: containers-auth.json(5) allows namespaces below a host."""
    if host in HUB_NAMES:
        return [HUB_KEY]
    parts = repository.split("/") if repository else []
    return [f"{host}/{'/'.join(parts[:n])}" for n in range(len(parts), 0, -1)] + [host]


def plain_key(key: str) -> str:
    """Keys come as host, https://host, https://host/v1/ and https://host/v2/."""
    for scheme in ("https://", "http://"):
        key = key.removeprefix(scheme)
    key = key.rstrip("/").removesuffix("/v1").removesuffix("/v2")
    return "docker.io" if key in HUB_NAMES else key


def credential_of(entry: Mapping[str, Any], key: str) -> Credential:
    """An `auths` entry. Raises WrongInput when its `auth` cannot be decoded."""
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if auth := entry.get("auth"):
        try:
            user, _, password = base64.b64decode(str(auth), validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            raise WrongInput(f"the login stored for {key} cannot be decoded", f"run docker login {key} again") from None
    password = password.rstrip("\x00")
    return Credential(user, password, str(entry.get("identitytoken") or ""), str(entry.get("registrytoken") or ""))
