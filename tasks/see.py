"""What there is: profiles, and what this machine has and lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.program import task
from tasks.words import JSON, PROFILE
from tasks.workbench import bench

if TYPE_CHECKING:
    from invoke.context import Context


@task("See", help={"show": PROFILE, "schema": "Print the JSON Schema, for editors.", "json": JSON})
def profiles(c: Context, show: str = "", schema: bool = False, json: bool = False) -> None:
    """The profiles: GPU, count, VRAM, precision, ZeRO, base."""
    from cli import show as shown

    if schema:
        from profiles.json_schema import json_schema

        return shown.document(json_schema())
    if show:
        from profiles.describe import details

        return shown.pairs(details(show), json)
    from profiles.describe import rows

    return shown.table(rows(), json)


@task("See", help={"json": JSON})
def doctor(c: Context, json: bool = False) -> None:
    """What this machine has and lacks: Docker, BuildKit, GPU, logins, disk."""
    from cli import show as shown
    from images.checks.doctor import examine

    return shown.findings(examine(bench(json)), json)
