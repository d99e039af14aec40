"""What a simulated machine runs in a rehearsal without an image: the real run scripts as they are baked, and the real
trainer, in a folder of this machine's own that is gone with it.

    env PYTHONPATH=CHECKOUT python -m bench.rows.fleet_machine FOLDER STEPS EVERY

The remote, the run's name and all limits come from the environment that the provider gives the container.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from bench.rows.resume_runs import SMALL, sets
from tests.trainer.baked import Image

ROOT = Path(__file__).resolve().parents[2]

PASSED = ("STOKER_", "MODEL_TAG", "CONTAINER_", "RUNPOD_", "TRAINING_HOURS")
# One thread of each kind: two that wait for each other by spinning make a step last a second on a busy machine.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
QUICK = {"STOKER_SYNC_EVERY": "1", "STOKER_BACKOFF": "0", **dict.fromkeys(THREADS, "1")}


def flags(steps: int, every: int) -> list[str]:
    """The training, the same on every machine and in the run that is never lost."""
    return ["--steps", str(steps), "--save-every", str(every), *sets({**SMALL, "train.micro_batch": 2})]


def machine(folder: Path) -> Image:
    """A machine's disk with the scripts on it, and its environment."""
    told = {name: value for name, value in os.environ.items() if name.startswith(PASSED)}
    plain = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
    }
    made = Image(folder / "disk", {**told, **plain, **QUICK})
    made.environment["STOKER_GRACE"] = "5"
    return made


def main(words: list[str]) -> None:
    """Becomes the run script."""
    Path(words[0]).mkdir(parents=True, exist_ok=True)
    image = machine(Path(tempfile.mkdtemp(prefix="machine-", dir=words[0])))
    command = [str(image.bin / "run"), *flags(int(words[1]), int(words[2]))]
    os.chdir(image.volume)
    os.execve(command[0], command, image.environment)


if __name__ == "__main__":
    main(sys.argv[1:])
