"""Build and push after a one-line change: cold, warm, unchanged; and the memory it takes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from statistics import median

from bench import registry, synthetic_base
from bench.checkout import ROOT
from bench.counting_proxy import CountingProxy
from bench.engine import Docker
from bench.measure import MB, measure
from bench.rows.row import Row, megabytes, seconds
from bench.rows.starting import invoke_start
from bench.setting import Setting

REACH_MEMORY = 200 * MB


def cold(setting: Setting) -> list[Row]:
    """A machine that has neither base nor image, in two states; against an engine that has nothing either.

    `clean`: the state folder is empty: the base's manifest and config, and what the build needs of wheels, are fetched.
    `cached`: as a runner whose CI cache kept the wheel files, and nothing else.
    The registry already has the image from before the change: somebody else pushed it.
    """
    first, _ = setting.checkout.push()
    setting.keep("build", first)
    clean, clean_sent, cached, cached_sent, theirs = [], [], [], [], []
    for _ in range(setting.runs):
        fresh_home(setting, wheels=False)
        setting.change()
        sample, row = setting.checkout.push()
        clean.append(setting.keep("build", sample).wall)
        clean_sent.append(float(row["bytes_sent"]))
        fresh_home(setting, wheels=True)
        number = setting.change()
        sample, row = setting.checkout.push()
        cached.append(setting.keep("build", sample).wall)
        cached_sent.append(float(row["bytes_sent"]))
        if setting.docker:
            theirs.append(engine_cold(setting, setting.docker, number, row["pushed"]))
    on_wire = sent_by_proxy(setting)
    notes = [
        f"request bodies of one such push, counted by a proxy: {on_wire['blobs']} bytes of blobs, "
        f"{on_wire['manifests']} of manifests",
        "clean fetches wheels from the package index only when the registry lacks their layer",
    ]
    notes += ["the engine's context holds the wheels already unpacked"] if theirs else []
    return [
        cold_row("machine without the base, state folder empty", clean, clean_sent, theirs, notes),
        cold_row("machine without the base, wheel files kept", cached, cached_sent, theirs, notes[:1]),
    ]


def cold_row(what: str, wall: list[float], sent: list[float], theirs: list[float], notes: list[str]) -> Row:
    ratio = median(theirs) / median(wall) if theirs else None
    # Without an engine the ratio is open, and so is the verdict, unless the rest was missed already.
    met = (None if ratio is None else ratio >= 100) if median(wall) < 1 and median(sent) < MB else False
    return Row(
        what=f"one-line change, build + push: {what}",
        reach="< 1 s, < 1 MB sent, >= 100x as fast",
        met=met,
        shown=f"{seconds(median(wall))}, {megabytes(median(sent))} sent",
        against_shown=seconds(median(theirs)) if theirs else "-",
        ratio=ratio,
        samples={"wall": wall, "bytes_sent": sent, "engine_wall": theirs},
        notes=notes,
    )


def fresh_home(setting: Setting, wheels: bool) -> None:
    """An empty state folder, but for the wheel files when they stay."""
    home = setting.checkout.home
    kept = setting.folder / "kept-wheels"
    if (home / "wheels").exists() and any((home / "wheels").iterdir()):
        shutil.rmtree(kept, ignore_errors=True)
        (home / "wheels").rename(kept)
    shutil.rmtree(home, ignore_errors=True)
    if wheels and kept.exists():
        home.mkdir()
        shutil.copytree(kept, home / "wheels")


def engine_cold(setting: Setting, docker: Docker, number: int, ours: str) -> float:
    """Seconds of build and push on an empty engine. Our own image then starts there, with the change in it."""
    context = render(setting)
    synthetic_base.settle()
    with docker.engine(setting.folder / "engine") as env:
        tag = f"{setting.registry}/by-engine:cold-{number}"
        taken = docker.build_and_push(context, tag, env).wall
        said = docker.run(ours, env, "tail", "-n", "1", "/opt/stoker/app/trainer/run/loop.py")
        if said != f"# change {number}\n":
            raise RuntimeError(f"the pushed image holds another trainer: {said!r}")
    return taken


def render(setting: Setting) -> Path:
    """The plan as a Dockerfile and context, FROM the local registry instead of nvcr.io."""
    out = setting.folder / "context"
    setting.checkout.inv("render", "--profile", setting.checkout.profile, "--out", str(out))
    dockerfile = out / "Dockerfile"
    text = dockerfile.read_text()
    dockerfile.write_text(text.replace("FROM nvcr.io/", f"FROM {setting.registry}/"))
    return out


def sent_by_proxy(setting: Setting) -> dict[str, int]:
    """Bytes that really arrive at the registry for one change from a machine without the base."""
    with CountingProxy(setting.registry) as proxy:
        through = type(setting.checkout)(**{**vars(setting.checkout), "registry": proxy.host})
        fresh_home(setting, wheels=True)
        setting.change()
        _, row = through.push()
        if proxy.counts.blobs < row["bytes_sent"]:
            raise RuntimeError(f"reported {row['bytes_sent']} bytes sent, {proxy.counts.blobs} arrived")
        return {"blobs": proxy.counts.blobs, "manifests": proxy.counts.manifests}


def warm(setting: Setting) -> list[Row]:
    """Everything there already but the change."""
    setting.checkout.push()
    ours: list[float] = []
    theirs: list[float] = []
    if setting.docker is None:
        for _ in range(setting.runs):
            setting.change()
            ours.append(setting.keep("build", setting.checkout.push()[0]).wall)
        return [warm_row(ours, theirs, invoke_start(setting))]
    with setting.docker.engine(setting.folder / "engine") as env:
        setting.docker.build_and_push(render(setting), f"{setting.registry}/by-engine:warm", env)
        for _ in range(setting.runs):
            number = setting.change()
            ours.append(setting.keep("build", setting.checkout.push()[0]).wall)
            context = render(setting)
            tag = f"{setting.registry}/by-engine:warm-{number}"
            theirs.append(setting.docker.build_and_push(context, tag, env).wall)
    return [warm_row(ours, theirs, invoke_start(setting))]


def warm_row(ours: list[float], theirs: list[float], start: list[float]) -> Row:
    beyond = median(ours) - median(start)
    return Row(
        what="one-line change, build + push: everything warm",
        reach="beyond Invoke's own start not slower",
        met=beyond <= median(theirs) if theirs else None,
        shown=f"{seconds(median(ours))} = {seconds(median(start))} Invoke + {seconds(beyond)}",
        against_shown=seconds(median(theirs)) if theirs else "-",
        ratio=median(theirs) / beyond if theirs else None,
        samples={"wall": ours, "engine_wall": theirs, "invoke_start": start},
        notes=["the engine's side is its build command alone: rendering its context is not counted"],
    )


def unchanged(setting: Setting) -> list[Row]:
    """The same command again."""
    setting.checkout.push()
    wall, sent, arrived = [], [], []
    with CountingProxy(setting.registry) as proxy:
        through = type(setting.checkout)(**{**vars(setting.checkout), "registry": proxy.host})
        through.push()
        for _ in range(setting.runs):
            sample, row = setting.checkout.push()
            wall.append(setting.keep("build", sample).wall)
            sent.append(float(row["bytes_sent"]))
            proxy.counts.reset()
            through.push()
            arrived.append(float(proxy.counts.blobs))
    return [
        Row(
            what="nothing changed, build + push",
            reach="0 bytes of blobs sent, < 0.5 s",
            met=not any(sent) and not any(arrived) and median(wall) < 0.5,
            shown=f"{seconds(median(wall))}, {max(arrived):.0f} bytes sent",
            samples={"wall": wall, "bytes_sent": sent, "blob_bytes_at_proxy": arrived},
        )
    ]


def memory(setting: Setting) -> list[Row]:
    """The peak of everything measured so far, and of one layer as big as the whole base, built and pushed."""
    if "build" not in setting.peaks:
        setting.keep("build", setting.checkout.push()[0])
    scratch = setting.folder / "one-layer"
    with registry.running(setting.folder / "one-layer-registry") as address:
        line: list[str | Path] = [
            sys.executable,
            ROOT / "bench" / "one_layer.py",
            scratch,
            f"{address}/one-layer",
            str(setting.size),
        ]
        setting.keep("one big layer", measure(line))
    shutil.rmtree(scratch)
    peaks = {what: [float(sample.max_rss) for sample in samples] for what, samples in setting.peaks.items()}
    worst = max(max(values) for values in peaks.values())
    return [
        Row(
            what="peak memory: " + ", ".join(f"{what} {megabytes(max(values))}" for what, values in peaks.items()),
            reach="< 200 MB",
            met=worst < REACH_MEMORY,
            shown=megabytes(worst),
            samples={f"{what} max_rss": values for what, values in peaks.items()},
            notes=[f"the big layer holds one file of {setting.size} random bytes"],
        )
    ]
