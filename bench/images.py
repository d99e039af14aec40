"""Building, pushing and copying images, side by side with buildx and skopeo: the table `Speed` of the README.

    .venv/bin/python bench/images.py                       # full size: 4.3 GB base, medians of 5, half an hour
    .venv/bin/python bench/images.py --base-mb 200 --runs 3 --out /tmp/images.json

Everything happens in one temporary folder that is deleted at the end: two registries, an engine, a clone of this
checkout. Only loopback is used, except for the wheels, which come from the package index.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # bench/images.py would hide the package images
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import engine, measure, registry, synthetic_base
from bench.checkout import ROOT, Checkout, clone, working_tree
from bench.rows import copying, digests, pushing, starting
from bench.rows.row import Row
from bench.setting import Setting
from profiles.errors import StokerError


def options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-mb", type=int, default=4300, help="size of the base's random layers (default 4300)")
    parser.add_argument("--layers", type=int, default=8, help="number of random layers (default 8)")
    parser.add_argument("--runs", type=int, default=5, help="runs per figure (default 5)")
    parser.add_argument("--profile", default="h100-fp8", help="a profile on nvcr.io/nvidia/pytorch:25.06-py3")
    parser.add_argument("--no-wheels", action="store_true", help="a profile without Python packages: no package index")
    parser.add_argument("--no-docker", action="store_true", help="leave out what needs an engine, and skopeo's part")
    parser.add_argument("--docker-bin", default="", metavar="DIR", help="folder of docker, dockerd, containerd")
    parser.add_argument("--rows", default="", metavar="A,B", help=f"only these: {', '.join(ROWS)}")
    parser.add_argument("--scratch", type=Path, default=None, metavar="DIR", help="where the temporary folder goes")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "images.json")
    return parser.parse_args(argv)


ROWS = {
    "cold": pushing.cold,
    "warm": pushing.warm,
    "unchanged": pushing.unchanged,
    "copy": copying.copy,
    "killed": copying.killed,
    "memory": pushing.memory,
    "digests": digests.identical,
    "list": starting.listing,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; 1 when a reach was not met."""
    asked = options(argv)
    wanted = [name for name in asked.rows.split(",") if name] or list(ROWS)
    if unknown := sorted(set(wanted) - set(ROWS)):
        print(f"error: no row {unknown[0]}\n  next: choose from {', '.join(ROWS)}", file=sys.stderr)
        return 2
    command = " ".join(["bench/images.py", *(sys.argv[1:] if argv is None else argv)])
    try:
        result = run(asked, wanted, command)
    except (StokerError, RuntimeError, OSError, subprocess.CalledProcessError) as failed:
        print(f"error: {failed}", file=sys.stderr)
        return 3
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    show(result, asked.out)
    return 0 if all(row["met"] is not False for row in result["rows"]) else 1


def run(asked: argparse.Namespace, wanted: Sequence[str], command: str) -> dict[str, Any]:
    """All rows, one after the other, and what they were measured on."""
    hardware = measure.machine()
    docker = None if asked.no_docker else engine.find(asked.docker_bin)
    skopeo = None if asked.no_docker else shutil.which("skopeo")
    rows: list[Row] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stoker-bench-", dir=asked.scratch)))
        folder.chmod(0o755)  # the row `digests` runs as another user
        address = stack.enter_context(registry.running(folder / "registry"))
        say(f"making a base of {asked.base_mb} MB")
        size = synthetic_base.push_base(address, asked.base_mb, asked.layers, folder, bootable=docker is not None)
        setting = Setting(folder, address, size, asked.runs, docker, skopeo, checkout(asked, folder, address))
        for name in wanted:
            say(f"row {name}")
            rows += ROWS[name](setting)
    return {
        "benchmark": "images",
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": command,
        "commit": working_tree(),
        "machine": hardware,
        "versions": versions(docker, skopeo),
        "against": docker.words if docker else None,
        "base": {"size": size, "layers": asked.layers, "profile": asked.profile},
        "runs": asked.runs,
        "rows": [row.to_json() for row in rows],
    }


def checkout(asked: argparse.Namespace, folder: Path, address: str) -> Checkout:
    """A clone with the profile locked against the synthetic base, and the lock committed, as its users have it."""
    profile = asked.profile
    root = clone(folder / "checkout")
    if asked.no_wheels:
        text = f"extends: {profile}\ndescription: without Python packages\npython: {{requirements: []}}\n"
        profile = "bench"
        (root / "profiles" / "bench.yaml").write_text(text)
    made = Checkout(root, folder / "home", address, profile)
    say("locking the profile")
    made.inv("lock", "--profile", profile)
    made.git("add", "-A")
    made.git("commit", "-q", "--allow-empty", "-m", "lock")
    return made


def versions(docker: engine.Docker | None, skopeo: str | None) -> dict[str, str | None]:
    from importlib.metadata import version

    return {
        "python": sys.version.split()[0],
        "invoke": version("invoke"),
        "docker": measure.version_of(docker.docker, "--version") if docker else None,
        "dockerd": measure.version_of(docker.dockerd, "--version") if docker else None,
        "buildx": docker.buildx if docker else None,
        "skopeo": measure.version_of(skopeo, "--version") if skopeo else None,
        "docker-registry": measure.version_of("docker-registry", "--version"),
        "git": measure.version_of("git", "--version"),
    }


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def show(result: dict[str, Any], path: Path) -> None:
    """The table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"images, base {result['base']['size'] / measure.MB:.0f} MB, medians of {result['runs']}")
    for name in ("what", "ours", "against", "ratio", "reach", "met"):
        table.add_column(name, overflow="fold")
    for row in result["rows"]:
        met = {True: "yes", False: "NO", None: "-"}[row["met"]]
        table.add_row(row["what"], row["shown"], row["against_shown"], row["ratio_shown"], row["reach"], met)
    Console().print(table)
    print(f"wrote {path}")


if __name__ == "__main__":
    raise SystemExit(main())
