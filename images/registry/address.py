"""Where requests go: mirrors, insecure registries, and which hosts a server may send us to.

Read from the environment once, at the edge, and passed on as a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from images.oci import reference as references
from profiles.errors import WrongInput

API_HOSTS = {"docker.io": "registry-1.docker.io"}
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: what must be equal before Authorization may be sent (distribution-spec, API)."""

    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if PORTS[self.scheme] == self.port else f":{self.port}"
        return f"{self.scheme}://{host}{port}"


def origin_of(url: str) -> Origin:
    """The origin of an absolute http(s) URL, default ports filled in. Raises ValueError for any other URL."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"not an http(s) address: {parts.scheme}")
    return Origin(parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme])


@dataclass(frozen=True, slots=True)
class Mirror:
    """Another registry (and a prefix there) that holds the same repositories."""

    host: str
    prefix: str = ""  # 'cache/ngc', no slashes at the ends


@dataclass(frozen=True, slots=True)
class Settings:
    """`mirrors`: by the registry they stand for; `insecure`: hosts that may be spoken to without valid TLS."""

    mirrors: Mapping[str, Mirror] = field(default_factory=dict)
    insecure: frozenset[str] = frozenset()

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """From STOKER_MIRROR="nvcr.io=127.0.0.1:5000/prefix,..." and STOKER_INSECURE_REGISTRIES="host:port,...".

        Raises WrongInput.
        """
        mirrors = {}
        for item in listed(environ.get("STOKER_MIRROR", "")):
            real, equals, other = item.partition("=")
            host, _, prefix = other.strip().partition("/")
            prefix = prefix.strip("/")
            good = equals and references.HOST.fullmatch(real.strip()) and references.HOST.fullmatch(host)
            if not good or (prefix and not references.REPOSITORY.fullmatch(prefix)):
                raise WrongInput(
                    f"not a mirror: {item[:200]!r} in STOKER_MIRROR", "write nvcr.io=127.0.0.1:5000 or ...=host/prefix"
                )
            mirrors[real.strip()] = Mirror(host, prefix)
        return cls(mirrors, frozenset(listed(environ.get("STOKER_INSECURE_REGISTRIES", ""))))

    def resolve(self, registry: str, repository: str) -> tuple[str, str]:
        """Host and repository that requests for `registry`/`repository` go to."""
        mirror = self.mirrors.get(registry)
        if mirror is None:
            return registry, repository
        return mirror.host, f"{mirror.prefix}/{repository}" if mirror.prefix else repository


def listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def split_port(host: str) -> tuple[str, int | None]:
    """`[::1]:5000` -> ('::1', 5000); `nvcr.io` -> ('nvcr.io', None)."""
    parts = urlsplit(f"//{host}")
    return parts.hostname or host, parts.port


def is_loopback(host: str) -> bool:
    """Whether `host` (with or without port) is this machine by its name alone."""
    name, _ = split_port(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def inner_address(host: str) -> bool:
    """Whether `host` is an IP literal that only a machine inside can reach: loopback, private, link-local.

    A server that names one may be aiming at our network (metadata services above all): ggcr bearer.go, nextLocation.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    return address.is_private or address.is_loopback or address.is_link_local or address.is_unspecified
