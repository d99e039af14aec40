"""The BuildKit builder, end to end: base into the engine, context, build, push by the engine."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from images.builders import archive, buildkit
from images.builders.engine import connect_or_install
from images.builders.load import load_base
from images.builders.render import render_to
from images.builders.shared_foundation import mirrored

if TYPE_CHECKING:
    from images.build import Resolved


@dataclass(frozen=True, slots=True)
class EngineImage:
    """What BuildKit made. names: in the engine; digest: of the pushed manifest, None when nothing was pushed."""

    image_id: str
    names: tuple[str, ...]
    digest: str | None
    cached: int  # steps that the builder's cache answered


def build_by_buildkit(resolved: Resolved, push: bool = False) -> EngineImage:
    """Build the plan with BuildKit; the engine then holds the image, and pushes it when asked.

    Raises OutsideFailed: no engine, no BuildKit, a failed step; WrongInput for values no Dockerfile can hold.
    """
    bench, plan = resolved.bench, resolved.plan
    engine = connect_or_install(bench.progress)
    route = engine.buildkit_route()
    local = (
        load_base(resolved.base.manifest, bench.store, engine, bench.progress)
        if plan.base.kind == "debian"
        else mirrored(plan, bench)
    )
    scratch = Path(mkdtemp(dir=bench.store.folder("tmp"), prefix="context-"))
    names: Sequence[str] = [archive.engine_name(plan.tag, bench.settings.get("registry") if push else None)]
    try:
        folder = render_to(resolved, scratch / "context", base=local, link=route.link)
        options = buildkit.Options(network=bench.settings.get("build_network"))
        built = buildkit.build(
            plan, folder, engine=engine, tags=names, push=push, options=options, progress=bench.progress
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return EngineImage(built.image_id, tuple(names), built.digest, built.cached)
