"""The first copy of a base into another registry: estimate, consent, then blob by blob."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from images.progress import size
from images.workbench import Workbench
from profiles.errors import Refused

if TYPE_CHECKING:
    from images.registry.copy import CopyResult, Estimate

ASK_FROM = 1_000_000_000  # bytes


def copy_base(
    bench: Workbench, source: str, target: str, platform: str | None, yes: bool, dry_run: bool
) -> dict[str, Any]:
    """Copy an image between registries: estimate, ask when it is large, then blob by blob.

    Raises Refused when the answer is no, or nobody is there to ask; WrongInput for references; registry errors.
    """
    from images.oci.reference import parse
    from images.registry.copy import copy_image

    origin, goal = parse(source), parse(target)
    tags = [goal.tag or origin.tag or "latest"]
    read, write = bench.registries.repository(origin), bench.registries.repository(goal)
    wanted = origin.digest or origin.tag
    estimate = copy_image(read, wanted, write, tags, platform, dry_run=True).estimate
    bench.progress.say(f"{source} -> {target}: {estimate}")
    if not dry_run and not yes:
        confirm(estimate.missing_size)
    if dry_run:
        return {"source": source, "target": target, "digest": estimate.digest, "dry_run": True, **figures(estimate)}

    def send() -> CopyResult:
        return copy_image(read, wanted, write, tags, platform, journal_dir=bench.store.journal, progress=bench.progress)

    done = bench.kill_proof(send)
    return {
        "source": source,
        "target": f"{goal.registry}/{goal.repository}:{tags[0]}",
        "digest": done.digest,
        **figures(estimate),
        "bytes_sent": done.bytes_sent,
        "seconds": round(done.seconds, 3),
    }


def figures(estimate: Estimate) -> dict[str, Any]:
    return {
        "blobs": estimate.blobs,
        "size": size(estimate.size),
        "missing_blobs": estimate.missing_blobs,
        "missing_size": size(estimate.missing_size),
    }


def confirm(missing: int) -> None:
    """Ask before gigabytes move. Raises Refused."""
    if missing < ASK_FROM:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{size(missing)} would be copied", "--yes to go on without being asked")
    sys.stderr.write(f"copy {size(missing)}? [y/N] ")
    if input().strip().lower() not in ("y", "yes"):
        raise Refused("not copied", "--dry-run shows the estimate")
