"""The Dockerfile and build context of a resolved profile, for `render` and for the BuildKit builder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from images.builders import context, dockerfile
from images.builders.append import layer_entries

if TYPE_CHECKING:
    from images.build import Resolved


def base_name(resolved: Resolved) -> str | None:
    """What FROM says of a bootstrapped base, which no registry has; None: the plan's own name and digest."""
    if resolved.plan.base.kind == "debian":
        return f"stoker-base:{resolved.plan.base.digest.removeprefix('sha256:')[:12]}"
    return None


def text(resolved: Resolved) -> str:
    """The Dockerfile. Raises WrongInput for a value it cannot hold."""
    return dockerfile.render(resolved.plan, base=base_name(resolved))


def render_to(resolved: Resolved, out: Path, *, base: str | None = None, link: bool = False) -> Path:
    """Write the Dockerfile and its whole context to the folder `out`."""
    layers = {
        layer.name: layer_entries(layer, resolved.sources, resolved.fetch_wheels) for layer in resolved.plan.layers
    }
    return context.write(
        resolved.plan, layers, out, base=base or base_name(resolved), link=link, progress=resolved.bench.progress
    )
