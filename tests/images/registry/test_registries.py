from __future__ import annotations

import subprocess
import sys

from images.registry.registries import Registries


def test_importing_the_client_imports_no_http_and_no_tls() -> None:
    """Every task pays for imports; these come with the first request."""
    code = (
        "import sys, images.registry.push, images.registry.copy, images.registry.registries;"
        "print({'http.client', 'ssl', 'email', 'urllib.request', 'requests', 'rich', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_one_registry_has_one_transport(registries: Registries) -> None:
    one, other = registries.repository("ghcr.io/a/b:v1"), registries.repository("ghcr.io/c")
    assert one.transport is other.transport
    assert not one.same_registry(registries.repository("nvcr.io/a/b"))
    assert one.for_push(["base"]).scopes == ("repository:a/b:pull,push", "repository:base:pull")
