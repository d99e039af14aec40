"""The tasks: read arguments, call, show. Everything heavy is imported inside the task that needs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli.fleet_back_flags import RESUME, RESUME_HELP, Back
from cli.fleet_flags import DEPLOY, DEPLOY_HELP, MANY, OFFERS, OFFERS_HELP, Asked
from cli.plan_flags import HELP, REPEATED, SECTIONS, Flags
from cli.program import task

if TYPE_CHECKING:
    from invoke.context import Context

    from images.workbench import Workbench

ROOT = Path(__file__).resolve().parent
VERSION = "0.1.0"

PROFILE = "Profile name or path to a YAML file."
JSON = "Print one JSON document on standard output."
DRY = "Say what would be done, do nothing."


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


@task("Plan", iterable=REPEATED, help=HELP, sections=SECTIONS)
def plan(
    c: Context,
    gpu: list[str],
    gpu_count: list[str],
    set: list[str],
    profile: str = "",
    preset: str = "",
    model: str = "",
    model_size: str = "",
    depth: str = "",
    layers: str = "",
    width: str = "",
    heads: str = "",
    vocab: str = "",
    length: str = "",
    batch: str = "",
    batch_tokens: str = "",
    device_batch_size: str = "",
    precision: str = "",
    zero: str = "",
    offload: str = "",
    checkpointing: str = "",
    optimizer: str = "",
    tokens: str = "",
    steps: str = "",
    epochs: str = "",
    hours: str = "",
    budget: str = "",
    dataset_tokens: str = "",
    price: str = "",
    max_price: str = "",
    spot: bool = False,
    network: str = "",
    link_mbit: str = "",
    offline: bool = False,
    claim: str = "",
    run: str = "",
    learn: str = "",
    table: bool = False,
    sources: bool = False,
    plot: str = "",
    json: bool = False,
) -> None:
    """Before anything is rented: will it fit, how fast, how long, how much."""
    flags = {name: value for name, value in locals().items() if name != "c"}
    from cli.plan import answer

    work = bench(True)
    answer(Flags(**flags), work.store.root, work.settings.get("profile", ""))


@task(
    "Images",
    iterable=["profile"],
    help={
        "profile": PROFILE + " Several: give it again.",
        "all": "Every shipped profile.",
        "check": "Change nothing; exit 1 when something has drifted.",
        "base-packages": "`pip list --format=json` of the base: its packages are then left out exactly.",
        "json": JSON,
    },
)
def lock(
    c: Context,
    profile: list[str],
    all: bool = False,
    check: bool = False,
    base_packages: str = "",
    json: bool = False,
) -> None:
    """Pin base digests, base facts and wheels; --check says what has drifted."""
    from cli import show as shown
    from images.locks.relock import relock
    from profiles.load import names

    wanted = names() if all else one_or_more(profile, bench(json))
    shown.changes(relock(bench(json), wanted, check, base_packages), check, json)


@task(
    "Images",
    help={
        "profile": PROFILE,
        "out": "Folder to write the Dockerfile and its build context to.",
        "base-tag": "Another tag of the base, such as 24.10-py3.",
        "json": "Print the image plan.",
    },
)
def render(c: Context, profile: str = "", out: str = "", base_tag: str = "", json: bool = False) -> None:
    """The Dockerfile and build context; --json: the image plan."""
    from cli import show as shown
    from images.build import resolve_profile
    from images.builders.render import render_to, text

    work = bench(json)
    resolved = resolve_profile(work, profile or default(work), base_tag=base_tag or None)
    if out:
        render_to(resolved, Path(out))
    if json:
        return shown.document(resolved.plan.to_json())
    return shown.text(f"wrote {out}/Dockerfile and its context" if out else text(resolved))


@task(
    "Images",
    iterable=["profile"],
    help={
        "profile": PROFILE + " Several: give it again.",
        "builder": "append (no Docker needed) or buildkit.",
        "push": "Push when built.",
        "registry": "HOST[:PORT]/NAME to push to.",
        "base-tag": "Another tag of the base, such as 24.10-py3.",
        "compression": "gzip or zstd.",
        "locked": "Refuse to build when the lock is missing, stale or drifted.",
        "load": "Also load the image into the local Docker engine.",
        "allow-dirty": "Push although the checkout differs from its commit.",
        "force": "Push over an existing tag with another digest.",
        "sign": "PEM or cosign private key to sign with, after pushing.",
        "dry-run": DRY,
        "json": JSON,
    },
)
def build(
    c: Context,
    profile: list[str],
    builder: str = "",
    push: bool = False,
    registry: str = "",
    base_tag: str = "",
    compression: str = "",
    locked: bool = False,
    load: bool = False,
    allow_dirty: bool = False,
    force: bool = False,
    sign: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Build images from profiles (--push: and push them)."""
    from cli import show as shown
    from images.publish import Wish, build_all

    work = bench(json, builder=builder, registry=registry, compression=compression)
    wish = Wish(base_tag or None, locked, push, load, allow_dirty, force, sign or None, dry_run)
    shown.built(build_all(work, one_or_more(profile, work), wish), json)


@task(
    "Images",
    iterable=["profile"],
    help={
        "profile": PROFILE + " Several: give it again.",
        "registry": "HOST[:PORT]/NAME to push to.",
        "allow-dirty": "Push although the checkout differs from its commit.",
        "force": "Push over an existing tag with another digest.",
        "sign": "PEM or cosign private key to sign with.",
        "dry-run": DRY,
        "json": JSON,
    },
)
def push(
    c: Context,
    profile: list[str],
    registry: str = "",
    base_tag: str = "",
    allow_dirty: bool = False,
    force: bool = False,
    sign: str = "",
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Build what has changed, and push it."""
    from cli import show as shown
    from images.publish import Wish, build_all

    work = bench(json, registry=registry)
    wish = Wish(base_tag or None, False, True, False, allow_dirty, force, sign or None, dry_run)
    shown.built(build_all(work, one_or_more(profile, work), wish), json)


@task(
    "Images",
    positional=["source", "target"],
    help={
        "source": "Image to copy, such as nvcr.io/nvidia/pytorch:25.06-py3.",
        "target": "Where to, HOST[:PORT]/NAME[:TAG].",
        "platform": "One platform instead of all.",
        "yes": "Do not ask before a large copy.",
        "dry-run": "Only the estimate.",
        "json": JSON,
    },
)
def copy(
    c: Context,
    source: str,
    target: str,
    platform: str = "",
    yes: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Copy an image between registries, blob by blob, resumable."""
    from cli import show as shown
    from images.copying import copy_base

    shown.pairs(copy_base(bench(json), source, target, platform or None, yes, dry_run), json)


@task("Images", help={"json": JSON})
def images(c: Context, json: bool = False) -> None:
    """The images built here, newest first."""
    from cli import show as shown
    from images.checks.listing import listing

    shown.table(listing(bench(json).store), json)


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


@task(
    "Images",
    help={
        "days": "Keep what was used in the last N days.",
        "all": "Everything.",
        "engine": "Also in the local Docker engine: our images that are no longer kept here.",
        "dry-run": DRY,
        "json": JSON,
    },
)
def prune(
    c: Context, days: int = 14, all: bool = False, engine: bool = False, dry_run: bool = False, json: bool = False
) -> None:
    """Remove images, blobs and caches nobody needs."""
    from cli import show as shown
    from images.checks.prune import prune_store
    from images.checks.prune_engine import prune_engine
    from profiles.errors import WrongInput

    if days < 0:
        raise WrongInput(f"--days {days} lies in the future", "--days 14, or --all")
    work = bench(json)
    found = prune_store(work, 0 if all else days, dry_run)
    shown.pairs({**found, **(prune_engine(work, dry_run) if engine else {})}, json)


PROVIDERS = "runpod, vast, hyperbolic, local; repeatable or a,b. None: all there is a key for."
NAMED = "Name of the run, as `status` lists it."
SURE = "Do not ask."


@task("Fleet", iterable=MANY, help=OFFERS_HELP, sections=OFFERS)
def offers(
    c: Context,
    provider: list[str],
    gpu: list[str],
    region: list[str],
    set: list[str],
    profile: str = "",
    model_size: str = "",
    depth: str = "",
    device_batch_size: str = "",
    steps: str = "",
    tokens: str = "",
    gpu_count: str = "",
    any_gpu: bool = False,
    max_price: str = "",
    spot: bool = False,
    min_reliability: str = "",
    dropped: bool = False,
    json: bool = False,
) -> None:
    """What can be rented now, by the dollars to finish, not by the hour."""
    flags = {name: value for name, value in locals().items() if name != "c"}
    from cli.fleet_deploy import offers as answer

    answer(Asked(**flags), bench(json))


@task("Fleet", iterable=(*MANY, "env"), help=DEPLOY_HELP, sections=DEPLOY)
def deploy(
    c: Context,
    provider: list[str],
    gpu: list[str],
    region: list[str],
    set: list[str],
    env: list[str],
    profile: str = "",
    image: str = "",
    model_size: str = "",
    depth: str = "",
    device_batch_size: str = "",
    steps: str = "",
    tokens: str = "",
    gpu_count: str = "",
    any_gpu: bool = False,
    max_price: str = "",
    budget: str = "",
    hours: str = "",
    idle_minutes: str = "",
    spot: bool = False,
    min_reliability: str = "",
    name: str = "",
    remote: str = "",
    dry_run: bool = False,
    yes: bool = False,
    auto_launch: bool = False,
    json: bool = False,
) -> None:
    """Rent the cheapest machine that will finish the run, and start it."""
    flags = {name: value for name, value in locals().items() if name != "c"}
    from cli.fleet_deploy import deploy as act

    act(Asked(**flags), bench(json))


@task(
    "Fleet",
    help={"ended": "Also runs that are over.", "quick": "Do not ask the machines for their last step.", "json": JSON},
)
def status(c: Context, ended: bool = False, quick: bool = False, json: bool = False) -> None:
    """Every run at every provider: state, price, spent, left, step."""
    from cli.fleet_runs import status as look

    look(bench(json), ended, quick, json)


@task("Fleet", iterable=["provider"], help={"provider": PROVIDERS, "json": JSON})
def balance(c: Context, provider: list[str], json: bool = False) -> None:
    """What is left to spend at each provider, and for how long."""
    from cli.fleet_runs import balance as look

    look(bench(json), provider, json)


@task(
    "Fleet",
    positional=["run"],
    help={"run": NAMED, "tail": "Newest lines to begin with.", "follow": "Go on as lines come."},
)
def logs(c: Context, run: str, tail: int = 100, follow: bool = False) -> None:
    """What a run prints, from its machine."""
    from cli.fleet_runs import logs as show

    show(bench(False), run, tail, follow)


@task("Fleet", positional=["run"], help={"run": NAMED, "command": "Run this there instead of a shell."})
def ssh(c: Context, run: str, command: str = "") -> None:
    """A shell on a run's machine."""
    from cli.fleet_runs import ssh as connect

    connect(bench(False), run, command)


@task("Fleet", positional=["run"], help={"run": NAMED, "yes": SURE})
def stop(c: Context, run: str, yes: bool = False) -> None:
    """Stop a run's machine: it saves; its disk bills on."""
    from cli.fleet_runs import stop as act

    act(bench(False), run, yes)


@task(
    "Fleet",
    positional=["run"],
    instead={"run": "all"},
    help={"run": NAMED, "all": "Every machine of every run.", "yes": SURE, "json": JSON},
)
def terminate(c: Context, run: str, all: bool = False, yes: bool = False, json: bool = False) -> None:
    """End machines for good, and see that nothing bills any more."""
    from cli.fleet_runs import terminate as act

    act(bench(json), run, all, yes, json)


@task(
    "Fleet",
    iterable=["provider", "adopt"],
    help={
        "provider": PROVIDERS,
        "adopt": "Id or tag of a machine to take over. Repeatable.",
        "dry-run": DRY,
        "json": JSON,
    },
)
def reconcile(c: Context, provider: list[str], adopt: list[str], dry_run: bool = False, json: bool = False) -> None:
    """Make the ledger and the providers agree: orphans, ghosts, doubles."""
    from cli.fleet_runs import reconcile as act

    act(bench(json), provider, adopt, dry_run, json)


@task(
    "Fleet",
    help={
        "export": "json or csv.",
        "what": "all (json only), runs, wishes, attempts, instances, segments, events, checkpoints, costs.",
        "out": "File to write; none: standard output.",
    },
)
def ledger(c: Context, export: str = "json", what: str = "all", out: str = "") -> None:
    """What was asked for, what came, what it cost."""
    from cli.fleet_runs import ledger as show

    show(bench(True), export, what, out)


@task("Fleet", positional=["run"], iterable=["provider", "set"], help=RESUME_HELP, sections=RESUME)
def resume(
    c: Context,
    run: str,
    provider: list[str],
    set: list[str],
    same: bool = False,
    any: bool = False,
    spot_then_on_demand: bool = False,
    gpu_count: str = "",
    max_price: str = "",
    budget: str = "",
    hours: str = "",
    force: bool = False,
    from_start: bool = False,
    remote: str = "",
    profile: str = "",
    image: str = "",
    model_size: str = "",
    depth: str = "",
    steps: str = "",
    tokens: str = "",
    yes: bool = False,
    json: bool = False,
) -> None:
    """Bring a run back after a loss, on the next machine that will do."""
    flags = {name: value for name, value in locals().items() if name != "c"}
    from cli.fleet_resume import resume as act

    act(Back(**flags), bench(json))


@task(
    "Fleet",
    iterable=["run"],
    words="run",
    help={
        "run": "Only these, also without the flag: watch night. None: every run that is open.",
        "resume": "Bring lost ones back, by their policy.",
        "json": "One line of JSON per look, on standard output.",
    },
)
def watch(c: Context, run: list[str], resume: bool = False, json: bool = False) -> None:
    """Look at runs again and again; end what is done or at a limit."""
    from cli.fleet_watch import watch as act

    act(bench(json), run, resume, json)


@task("Fleet", positional=["run"], help={"run": NAMED, "json": JSON})
def report(c: Context, run: str, json: bool = False) -> None:
    """The story of a run: machines, hours, dollars, checkpoints."""
    from cli.fleet_watch import report as tell

    tell(bench(json), run, json)


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


@task("Develop", help={"fast": "Only what takes under two minutes.", "k": "pytest's -k."})
def test(c: Context, fast: bool = False, k: str = "") -> None:
    """Format check, lint, types, then the tests."""
    from cli import develop

    develop.test(fast, k)


@task("Develop")
def lint(c: Context) -> None:
    """ruff and mypy."""
    from cli import develop

    develop.lint()


@task("Develop", name="bench", positional=["name"], help={"name": "A script of bench/, without .py."})
def bench_task(c: Context, name: str) -> None:
    """Run a benchmark of bench/; results go to bench/results/."""
    from cli import develop

    develop.bench(name)


def bench(json: bool, **flags: str) -> Workbench:
    """The workbench of this checkout; with --json nothing but the document is printed."""
    from images.progress import for_stream
    from images.workbench import open_workbench

    return open_workbench(ROOT, for_stream(quiet=json), **flags)


def default(work: Workbench) -> str:
    """The profile of stoker.yaml or STOKER_PROFILE. Raises WrongInput without one."""
    from profiles.errors import WrongInput

    if name := work.settings.get("profile"):
        return name
    raise WrongInput("no profile named", "--profile NAME; ./inv profiles lists them")


def one_or_more(named: list[str], work: Workbench) -> list[str]:
    """The profiles a task works on."""
    return [part for name in named for part in name.split(",")] or [default(work)]
