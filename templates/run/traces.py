"""What the run leaves behind, as the keeper sees it: signs of life, and what its remote does not have. Loaded by it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

BUSY = 5.0  # per cent of a GPU
LOOKS = 10  # in a row without a sign of life, so that a clock that jumps is no idleness
METRICS = "training_metrics.jsonl"
SYNC = "sync.json"  # trainer/sync/status.py
UNSENT = 86400.0  # seconds that a machine without a deadline is kept for what its remote lacks
TELL = 900.0  # seconds between two lines about that


class Quiet:
    """Since when neither a GPU nor the run has done anything. place: a file that names the run's folder."""

    def __init__(self, place: str) -> None:
        self.place, self.busy, self.looks, self.since = place, False, 0, 0.0
        self.seen: list[object] = []

    def watch(self) -> None:
        """nvidia-smi can hang with a broken GPU, so it is asked beside us."""
        threading.Thread(target=self.ask, daemon=True).start()

    def ask(self) -> None:
        question = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while True:
            said = ""
            with suppress(OSError, subprocess.SubprocessError):
                said = subprocess.run(
                    question, stdin=-3, stdout=-1, stderr=-3, text=True, timeout=20, check=False
                ).stdout
            values = [word for word in said.split() if word.replace(".", "", 1).isdigit()]
            self.busy = any(float(value) >= BUSY for value in values)  # unreadable: the run's own traces decide
            time.sleep(5)

    def seconds(self, now: float) -> float:
        """How long it has been quiet; 0 until some looks in a row have seen nothing."""
        found = self.traces()
        if self.busy or found != self.seen or not self.since:
            self.seen, self.since, self.looks = found, now, 0
        self.looks += 1
        return now - self.since if self.looks > LOOKS else 0.0

    def again(self, now: float) -> None:
        """As if something had just happened."""
        self.since, self.looks = now, 0

    def traces(self) -> list[object]:
        """Sizes of the run's metrics, of what is being saved or restored, and how much was sent; no files before it has
        a folder."""
        lines = written(self.place)
        found: list[object] = [tuple(lines)]  # what `run` tells us, that something was sent among it
        for folder in (lines[0], f"{lines[0]}-sft") if lines else ():
            told = document(f"{folder}/{SYNC}")
            found.append((folder, told.get("sent_bytes"), told.get("checkpoints")))
            files = [Path(folder, METRICS)]
            files += [Path(path, name) for path, _, names in os.walk(f"{folder}/checkpoints") for name in names]
            for one in sorted(files):
                with suppress(OSError):
                    found.append((one, one.stat().st_size))
        return found


class Unsent:
    """The newest checkpoint that is not where it is to be sent, and for how long this machine waits for it.

    place: `run` writes its folder there, its remote, and the checkpoints that it knows to be at the remote, each on a
    line of its own. Without a remote nothing is ever unsent.
    """

    def __init__(self, place: str, say: Callable[[str], None]) -> None:
        self.place, self.say, self.path, self.url = place, say, "", ""
        self.since, self.told, self.asked = 0.0, -TELL, False

    def keeps(self, now: float, deadline: float) -> bool:
        """Whether the machine is to stay for it: until `deadline`, where there is one (not 0), else for a day. Says so
        now and then."""
        path, self.url = self.newest()
        if path != self.path:
            self.path, self.since, self.told = path, now, -TELL
        if not path or not (deadline or now < self.since + UNSENT):
            return False
        if now >= self.told + TELL:
            self.told = now
            until = "until its deadline" if deadline else f"{(self.since + UNSENT - now) / 3600:.0f} hours more"
            run, url = Path(path).parents[1], re.sub(r"://[^/@]*@", "://***@", self.url).partition("?")[0]
            self.say(f"{Path(path).name} is not at the remote: the machine is kept for it {until}")
            self.say(f"to send it by hand: python3 -m trainer sync {run} --to {url}")
        return True

    def stopping(self) -> None:
        """Asked to stop from outside: a keeper on the host (keep.sh) must not take that for a good end before `stopped`
        says what is at the remote; it hears no more of us when the container is killed meanwhile."""
        if not self.asked and len([line for line in written(self.place)[:2] if line]) == 2:
            self.asked = True
            self.say("stopping: what is at the remote is not known yet")

    def stopped(self) -> None:
        """What became of it, once nothing runs any more."""
        if self.asked:
            path, _ = self.newest()
            self.say(f"stopping: {f'{Path(path).name} is not' if path else 'all is'} at the remote")

    def newest(self) -> tuple[str, str]:
        """Its path, and its run's remote. What cannot be read is not there."""
        run, remote, *known = [*written(self.place), "", ""]
        for folder, url in ((f"{run}-sft", f"{remote}-sft"), (run, remote)) if run and remote else ():
            told = document(f"{folder}/{SYNC}")
            seals = told.get("seals") if told.get("remote") == url else None
            for path in checkpoints(folder):
                made = document(f"{path}/manifest.json")
                if made.get("resumable") is False:  # weights for use here
                    continue
                seal = made.get("whole", made.get("sha256"))  # trainer/checkpoint/manifest.py: its name among all
                there = seal is not None and isinstance(seals, dict) and seals.get(path.name) == seal
                if not there and str(path) not in known:
                    return str(path), url
                break
        return "", ""


def foretell(place: str, home: str, command: Sequence[str], environ: Mapping[str, str] = os.environ) -> None:
    """Writes what `run` will write when it has asked the trainer: it may fail before that, on a disk that holds a
    checkpoint. By the variables, as `settings` and trainer/run/folder.py read them, and by the flags."""
    profile = document(f"{home}/profile.json")
    base, repository, volume = environ.get("NANOCHAT_BASE_DIR"), environ.get("HF_REPO_ID"), profile.get("volume")
    tag = environ.get("MODEL_TAG") or profile.get("profile") or "run"
    above = volume if isinstance(volume, str) and os.access(volume, os.W_OK) else home
    run = environ.get("STOKER_RUN_DIR") or (f"{base}/base_checkpoints/{tag}" if base else f"{above}/runs/{tag}")
    kind = "datasets/" if environ.get("HF_REPO_TYPE") == "dataset" else ""
    remote = environ.get("STOKER_REMOTE") or (f"hf://{kind}{repository}/{tag}" if repository else "")
    for flag, after in zip(command, [*command[1:], ""], strict=True):
        name, equals, value = flag.partition("=")
        run = (value if equals else after) if name == "--run" else run
        remote = (value if equals else after) if name == "--remote" else remote
    with suppress(OSError, ValueError):
        Path(place).write_text(f"{Path.cwd() / run}\n{remote}\n", encoding="utf-8", errors="surrogateescape")


def written(place: str) -> list[str]:
    """The lines of a file; none when it cannot be read."""
    try:
        return Path(place).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def document(path: str) -> dict[str, Any]:
    """An object in JSON; {} for anything else."""
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    return {}


def checkpoints(run: str) -> list[Path]:
    """Those with a manifest, newest first."""
    found = [path.parent for path in Path(run, "checkpoints").glob("step-*/manifest.json")]
    steps = [(int(path.name[5:]), path) for path in found if re.fullmatch(r"step-[0-9]{8,15}", path.name)]
    return [path for _, path in sorted(steps, reverse=True)]
