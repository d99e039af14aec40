"""Kill build and push at random moments, hundreds of times: the same command always finishes, with the same digest.

    .venv/bin/python bench/kills.py                  # 300 kills, about ten minutes
    .venv/bin/python bench/kills.py --kills 10 --out /tmp/kills.json

Each round has a new state folder and a new repository. It is killed some times with SIGKILL, at moments spread over the
whole of build and push, and then run to its end. Checked after every kill: no blob in the store has a wrong digest.
Checked at the end of a round: exit code 0, the digest of an undisturbed build, and that the registry serves it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # bench/ as first entry would hide the package images
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench import measure, registry
from bench.counting_proxy import CountingProxy
from images.registry.registries import Registries
from tests.conftest import ROOT, SMALL, Project, make_project
from tests.sim.ngc import push_ngc

NOISE = 48_000_000  # bytes that do not compress: one layer of two chunks
PER_ROUND = 6  # kills before a round is run to its end


def prepare(folder: Path, address: str) -> Project:
    """A committed, locked checkout on the simulated base."""
    push_ngc(Registries().repository(f"{address}/nvidia/pytorch:x"), "25.06")
    (folder / "home").mkdir()
    project = make_project(folder / "checkout", folder / "home")
    project.env["STOKER_MIRROR"] = f"nvcr.io={address}"
    project.write("profiles/small.yaml", SMALL)
    (project.root / "trainer/noise.bin").write_bytes(random.Random(7).randbytes(NOISE))
    if project.inv("lock", "--profile", "small").returncode:
        raise measure.Failed("the profile could not be locked")
    project.commit("small profile")
    return project


def damaged(store: Path) -> list[str]:
    """Blobs whose content is not what their name says."""
    blobs = store / "layout" / "blobs" / "sha256"
    found = blobs.iterdir() if blobs.is_dir() else ()
    return [path.name for path in found if hashlib.sha256(path.read_bytes()).hexdigest() != path.name]


def start(project: Project, target: str, home: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(project.root / "cli/program.py"), "push", "--profile", "small", "--registry", target]
    env = {**project.env, "STOKER_HOME": str(home)}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=project.root, env=env, stdout=quiet, stderr=quiet, start_new_session=True)


def kill_after(running: subprocess.Popen[bytes], seconds: float) -> bool:
    """SIGKILL after `seconds`; False when it had ended by itself."""
    try:
        running.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        return True
    return False


def served(address: str, name: str, tag: str) -> str:
    """The digest the registry gives for a tag."""
    accept = "application/vnd.docker.distribution.manifest.v2+json"
    request = urllib.request.Request(f"http://{address}/v2/{name}/manifests/{tag}", headers={"Accept": accept})
    with urllib.request.urlopen(request) as answer:
        return "sha256:" + hashlib.sha256(answer.read()).hexdigest()


def one_round(
    project: Project, number: int, kills: int, address: str, proxy: CountingProxy, whole: float
) -> dict[str, Any]:
    """Some kills, then to the end. Raises measure.Failed when a promise is broken."""
    chance = random.Random(number)
    home, name = project.root.parent / f"state-{number}", f"kills/round-{number}"
    proxy.counts.reset()
    done = 0
    for _ in range(kills):
        done += kill_after(start(project, f"{proxy.host}/{name}", home), chance.uniform(0.02, whole))
        if wrong := damaged(home):
            raise measure.Failed(f"round {number}: damaged blobs {wrong}")
    [row] = project.json("push", "--profile", "small", "--registry", f"{proxy.host}/{name}", STOKER_HOME=str(home))
    if served(address, name, row["tag"]) != row["digest"]:
        raise measure.Failed(f"round {number}: the registry serves another digest")
    return {"kills": done, "digest": row["digest"], "bytes_received": proxy.counts.blobs}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "kills.json")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stoker-kills-") as scratch:
        folder = Path(scratch)
        with registry.running(folder / "registry") as address, CountingProxy(address) as proxy:
            project = prepare(folder, address)
            began = time.monotonic()
            reference = one_round(project, 0, 0, address, proxy, 1.0)
            whole = time.monotonic() - began
            rounds: list[dict[str, Any]] = []
            while sum(row["kills"] for row in rounds) < asked.kills:
                rounds.append(one_round(project, len(rounds) + 1, PER_ROUND, address, proxy, whole))
                print(f"{sum(row['kills'] for row in rounds)} kills, {len(rounds)} rounds", file=sys.stderr)
    same = sum(row["digest"] == reference["digest"] for row in rounds)
    ratio = [row["bytes_received"] / reference["bytes_received"] for row in rounds]
    result = {
        "command": " ".join(["bench/kills.py", *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": measure.machine(),
        "kills": sum(row["kills"] for row in rounds),
        "rounds": len(rounds),
        "same_digest": same,
        "layer_bytes": NOISE,
        "bytes_once": reference["bytes_received"],
        "bytes_received_over_once": {"median": round(statistics.median(ratio), 3), "worst": round(max(ratio), 3)},
        "met": same == len(rounds),
    }
    asked.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
    return 0 if result["met"] else 1


if __name__ == "__main__":
    sys.exit(main())
