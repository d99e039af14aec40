"""From what a person types to an image: a local tag or its beginning, a digest, or a reference to a registry."""

from __future__ import annotations

from images.checks.subject import Subject, local, remote
from images.oci.digest import DIGEST
from images.oci.manifest import Manifest, child_for
from images.workbench import Workbench
from profiles.errors import OutsideFailed, WrongInput

FEWEST = 6  # hex digits of a digest that is not written out


def find(bench: Workbench, text: str, platform: str = "linux/amd64") -> Subject:
    """The image `text` means; of an index its image for `platform`, else its first.

    Raises WrongInput naming the images there are, or those that begin alike; Missing and OutsideFailed for a registry.
    """
    layout = bench.store.layout
    if (name := named(bench, text)) is not None:
        manifest = layout.manifest(name)
        if manifest.is_index:
            digest = chosen(manifest, platform)
            manifest = layout.manifest(digest)
        return local(bench.store, name, manifest)
    if "/" not in text:
        known = ", ".join(sorted(layout.refs())[:10]) or "none yet: ./inv build makes them"
        raise WrongInput(f"no image {text[:140]!r} here", f"a registry's is HOST/NAME:TAG; here are: {known}")
    repository = bench.registries.repository(text)
    manifest = repository.manifest()
    if manifest.is_index:
        manifest = repository.manifest(chosen(manifest, platform))
    return remote(repository, text, manifest, bench.store)


def named(bench: Workbench, text: str) -> str | None:
    """The tag or digest in the store that `text` is, or is the only beginning of. Raises WrongInput for several."""
    refs = bench.store.layout.refs()
    if text in refs:
        return text
    begin = text if text.startswith("sha256:") else f"sha256:{text}"
    digests = {row.digest for row in refs.values()}
    found = sorted(name for name in refs if name.startswith(text)) if text else []
    if not found and len(begin) >= len("sha256:") + FEWEST:
        found = sorted(digest for digest in digests if digest.startswith(begin))
    if len(found) > 1:
        raise WrongInput(f"several images begin with {text!r}: {', '.join(found[:6])}", "write more of the name")
    if not found and DIGEST.fullmatch(text) and bench.store.layout.has(text):
        return text
    return found[0] if found else None


def chosen(index: Manifest, platform: str) -> str:
    """The digest of the platform's image, else of the first that is one."""
    try:
        return child_for(index, platform).digest
    except OutsideFailed:
        for child in index.children:
            if (child.extra.get("platform") or {}).get("os", "unknown") != "unknown":
                return child.digest
        raise
