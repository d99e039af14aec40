"""What doctor asks of the world outside: logins and keys by name, never by value, and whether the registry answers."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from images.checks.finding import Finding

KEYS = {"runpod": "RUNPOD_API_KEY", "vast": "VAST_API_KEY", "hyperbolic": "HYPERBOLIC_API_KEY"}
SECONDS = 1.2  # for one request to the registry


def logins(env: Mapping[str, str]) -> Iterator[Finding]:
    """Hosts that the Docker config has a login for. Helpers are named, not asked: they may open a window."""
    from images.registry.credentials import Credentials

    config = Credentials(env).config()
    hosts = sorted({plain(host) for part in ("auths", "credHelpers") for host in config.get(part) or {}})
    store = f" (kept by {config['credsStore']})" if config.get("credsStore") else ""
    if hosts or store:
        yield Finding("registry logins", True, (", ".join(hosts) or "none named") + store)
    else:
        yield Finding("registry logins", None, "none; push needs one: docker login HOST")


def plain(host: str) -> str:
    from images.registry.credentials import plain_key

    return plain_key(host)


def registry(settings: Mapping[str, str]) -> Iterator[Finding]:
    """GET /v2/ of the registry that push would use. 401 is an answer, and needs no login here."""
    from images.oci.reference import parse
    from images.registry.address import API_HOSTS, Settings, is_loopback

    if not settings.get("registry"):
        yield Finding("registry", None, "none set: --registry HOST[:PORT]/NAME, or `registry:` in stoker.yaml")
        return
    named = {f"STOKER_{name.upper()}": value for name, value in settings.items()}
    routes, target = Settings.from_env(named), parse(settings["registry"])
    host, _ = routes.resolve(target.registry, target.repository)
    api = API_HOSTS.get(host, host)
    loose = host in routes.insecure or is_loopback(host)
    said = ""
    for scheme in ("http", "https") if loose else ("https",):
        said = get(f"{scheme}://{api}/v2/", verify=not loose)
        if said in ("200", "401", "403"):
            yield Finding("registry", True, f"{target.name} answers")
            return
        if "timed out" in said:  # so will the other scheme
            break
    yield Finding("registry", None, f"{target.name} does not answer ({said}): push would fail")


def get(url: str, verify: bool) -> str:
    """The status, or in words why there is none."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=SECONDS, context=context) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return str(error.code)
    except urllib.error.URLError as error:
        return str(getattr(error.reason, "strerror", None) or error.reason)
    except (OSError, ValueError) as error:
        return str(error) or type(error).__name__


def providers(env: Mapping[str, str]) -> Iterator[Finding]:
    """Which providers' keys the environment holds."""
    there = [name for name in KEYS.values() if env.get(name)]
    absent = [name for name in KEYS.values() if not env.get(name)]
    said = "; ".join(
        filter(None, [f"set: {', '.join(there)}" if there else "", f"not set: {', '.join(absent)}" if absent else ""])
    )
    yield Finding("provider keys", True if there else None, said)


def hugging_face(env: Mapping[str, str]) -> Iterator[Finding]:
    """A token in the environment or where `hf auth login` puts it (huggingface_hub constants.py)."""
    if name := next((name for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") if env.get(name)), None):
        yield Finding("hugging face", True, f"{name} is set")
        return
    cache = Path(env.get("XDG_CACHE_HOME") or Path(env.get("HOME") or "/nonexistent") / ".cache")
    home = Path(env.get("HF_HOME") or cache / "huggingface")
    path = Path(env.get("HF_TOKEN_PATH") or home / "token")
    try:
        there = path.stat().st_size > 0
    except OSError:
        there = False
    yield Finding("hugging face", True if there else None, str(path) if there else "not logged in: hf auth login")
