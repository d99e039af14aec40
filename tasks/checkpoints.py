"""Checkpoints of a run, here or at a store; the trainer's own commands do the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.program import task
from tasks.words import DRY, JSON

if TYPE_CHECKING:
    from invoke.context import Context

RUN = "Run folder, as of `train --run`; left out, STOKER_RUN_DIR."
REMOTE = "Look at this store instead: hf://, gs://, s3://, ssh://, file://."


@task("Checkpoints", help={"run": RUN, "remote": REMOTE, "json": JSON})
def checkpoints(c: Context, run: str = "", remote: str = "", json: bool = False) -> None:
    """The checkpoints of a run, or those at a store (--remote)."""
    from cli.checkpoints import act

    act("list", run=run, remote=remote, json=json)


@task(
    "Checkpoints",
    name="checkpoints.verify",
    help={
        "run": RUN + " Or one checkpoint's folder.",
        "remote": REMOTE,
        "all": "Every checkpoint, not the newest alone.",
        "quick": "Manifest and sizes, no hashes of the data.",
        "json": JSON,
    },
)
def checkpoints_verify(
    c: Context, run: str = "", remote: str = "", all: bool = False, quick: bool = False, json: bool = False
) -> None:
    """Hash every byte of the newest one; exit 1 when it is damaged."""
    from cli.checkpoints import act

    act("verify", *([run] if run else []), remote=remote, all=all, quick=quick, json=json)


@task(
    "Checkpoints",
    name="checkpoints.pull",
    positional=["url"],
    help={
        "url": "Store to fetch from.",
        "run": RUN,
        "step": "That of this step, not the newest.",
        "best": "That with the lowest validation loss.",
        "only": "all, or model: without the optimizer's state.",
        "missing-ok": "A store without any is no error.",
        "force": "Move what is in the way to RUN/aside.",
        "rate": "10^6 bytes a second, at most.",
        "json": JSON,
    },
)
def checkpoints_pull(
    c: Context,
    url: str,
    run: str = "",
    step: str = "",
    best: bool = False,
    only: str = "all",
    missing_ok: bool = False,
    force: bool = False,
    rate: str = "",
    json: bool = False,
) -> None:
    """Fetch one from a store, verified; a call that was cut off goes on."""
    from cli.checkpoints import act

    flags = {"best": best, "missing_ok": missing_ok, "force": force, "json": json}
    act("pull", url, run=run, step=step, only=only, rate=rate, **flags)


@task("Checkpoints", name="checkpoints.best", help={"run": RUN, "remote": REMOTE, "json": JSON})
def checkpoints_best(c: Context, run: str = "", remote: str = "", json: bool = False) -> None:
    """The folder with the lowest validation loss."""
    from cli.checkpoints import act

    act("best", run=run, remote=remote, json=json)


@task(
    "Checkpoints",
    name="checkpoints.prune",
    help={
        "run": RUN,
        "keep": "Newest that stay here.",
        "keep-every": "Multiples of so many steps stay.",
        "remote": "A store to prune.",
        "remote-keep": "Newest that stay there.",
        "optimizer": "Drop the optimizer's files alone: weights stay for use, not to go on training.",
        "yes": "Do not ask.",
        "dry-run": DRY,
        "json": JSON,
    },
)
def checkpoints_prune(
    c: Context,
    run: str = "",
    keep: str = "",
    keep_every: str = "",
    remote: str = "",
    remote_keep: str = "",
    optimizer: bool = False,
    yes: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Delete old ones, never the best nor the last that verifies."""
    from cli.checkpoints import act

    flags = {"optimizer": optimizer, "yes": yes, "dry_run": dry_run, "json": json}
    act("prune", run=run, keep=keep, keep_every=keep_every, remote=remote, remote_keep=remote_keep, **flags)


@task(
    "Checkpoints",
    name="checkpoints.export",
    positional=["path", "out"],
    help={
        "path": "A run folder, or one checkpoint's.",
        "out": "Folder to make.",
        "checkpoint": "Of a run: latest, best or a step.",
        "dtype": "Of the weights: fp32, bf16, fp16.",
        "shard-gb": "Largest weight file, 10^9 bytes.",
        "force": "Replace an export that is there.",
        "json": JSON,
    },
)
def checkpoints_export(
    c: Context,
    path: str,
    out: str,
    checkpoint: str = "latest",
    dtype: str = "fp32",
    shard_gb: str = "",
    force: bool = False,
    json: bool = False,
) -> None:
    """Write a Hugging Face folder of one (needs torch)."""
    from cli.checkpoints import act

    flags = {"force": force, "json": json}
    act("export", path, out=out, checkpoint=checkpoint, dtype=dtype, shard_gb=shard_gb, **flags)


@task(
    "Checkpoints",
    name="checkpoints.diff",
    positional=["a", "b"],
    help={
        "a": "A checkpoint's folder, or a run: its newest.",
        "b": "The other one.",
        "tensors": "Compare every tensor too (needs torch).",
        "within": "Exit 1 unless tensors agree within this relative difference.",
        "json": JSON,
    },
)
def checkpoints_diff(c: Context, a: str, b: str, tensors: bool = False, within: str = "", json: bool = False) -> None:
    """Compare two by what they say, by files, by tensors."""
    from cli.checkpoints import act

    act("diff", a, b, tensors=tensors, within=within, json=json)
