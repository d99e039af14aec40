"""Looking at images that are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.program import task
from tasks.words import JSON, PROFILE
from tasks.workbench import bench, default

if TYPE_CHECKING:
    from invoke.context import Context


@task("Check", positional=["a", "b"], help={"a": "Tag, reference or digest.", "b": "The other one.", "json": JSON})
def diff(c: Context, a: str, b: str, json: bool = False) -> None:
    """Compare two images by layers, files, packages, size and settings."""
    from cli import show as shown
    from images.checks.diff import compare

    shown.differences(compare(bench(json), a, b), json)


@task(
    "Check",
    positional=["ref"],
    help={
        "ref": "HOST[:PORT]/NAME:TAG",
        "key": "Public key of the signature.",
        "deep": "Read the base's layers too, not only ask for them.",
        "json": JSON,
    },
)
def verify(c: Context, ref: str, key: str = "", deep: bool = False, json: bool = False) -> None:
    """Read an image back from its registry and check everything."""
    from cli import show as shown
    from images.checks.verify import verify_image

    shown.findings(verify_image(bench(json), ref, key or None, deep=deep), json)


@task(
    "Check",
    help={"profile": PROFILE, "ref": "An image in a registry, instead.", "gpus": "GPUs to use.", "json": JSON},
)
def smoke(c: Context, profile: str = "", ref: str = "", gpus: int = 0, json: bool = False) -> None:
    """Start the image in a real container: train, kill, resume, compare."""
    from cli import show as shown
    from images.checks.smoke import smoke_image
    from profiles.errors import WrongInput

    if gpus < 0:
        raise WrongInput(f"--gpus {gpus} is no number of GPUs", "--gpus 1; left out, the profile decides")
    work = bench(json)
    shown.findings(smoke_image(work, profile or (default(work) if not ref else ""), ref or None, gpus), json)
