"""Runs as plain processes, each in a folder below .stoker/local/processes that outlives it and us."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from fleet.offers.offer import ON_DEMAND
from fleet.providers.local import begin, bodies
from fleet.providers.local.folder import Folder
from fleet.providers.local.machine import CPU, PROVIDER
from fleet.providers.local.unpacked import Baked, baked
from fleet.providers.masked import MASK
from fleet.providers.outcomes import Because, NotCreated, Unclear
from fleet.providers.values import TOLD_ENV, Instance, Order, Shown, State, Volume
from fleet.wire.failed import ProviderFailed
from profiles.errors import WrongInput

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# What a process needs of ours. Nothing else: the variables of a rented machine that this may be are not the run's.
PASSED = ("HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
# No sshd and no keys are set up on the user's own machine.
LEFT_OUT = frozenset({"PUBLIC_KEY"})
BEGINNING = 30.0  # seconds in which a started process is expected to be known
POLL = 0.05


@dataclass(frozen=True, slots=True)
class Processes:
    """state: the `.stoker` folder; environ: where secrets come from when a stopped one is started again."""

    state: Path
    environ: Mapping[str, str]
    usd_hour: Decimal = Decimal(0)

    @property
    def root(self) -> Path:
        return self.state / PROVIDER / "processes"

    def folder(self, id: str) -> Folder:
        """Raises WrongInput for what can be no id."""
        if not NAME.fullmatch(id):
            raise WrongInput(f"no machine {id[:64]!r} here", "./inv status")
        return Folder(self.root / id)

    def has(self, id: str) -> bool:
        return bool(NAME.fullmatch(id)) and self.folder(id).known()

    def launch(self, order: Order, gpus: list[str]) -> Instance:
        """Unpacks the image and starts its entrypoint. A tag's folder is made once. Raises NotCreated, Unclear."""
        image = baked(order.container.image, self.state, self.state / PROVIDER / "images")
        folder = self.folder(order.tag)
        kept = {
            "tag": order.tag,
            "image": order.container.image,
            "gpu": order.offer.gpu,
            "gpus": gpus,
            "command": list(order.container.command),
            "env": dict(order.container.env),
            "secrets": sorted(order.container.secrets),
            "volume": order.container.volume or bodies.volume(order.container),
        }
        try:
            folder.make(kept)
        except FileExistsError:
            raise Unclear(f"local: {order.tag} was sent before", "./inv reconcile") from None
        except OSError as error:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise NotCreated(Because.INVALID, f"local: {folder.path}: {error.strerror}", "./inv prune") from None
        if self.spawn(folder, image, dict(order.container.secrets)) is not None and not folder.began():
            said = "; ".join(folder.logs(1, False))
            shutil.rmtree(folder.path, ignore_errors=True)
            raise NotCreated(Because.INVALID, f"local: no process could be started: {said}", "./inv doctor")
        found = self.instance(order.tag)
        if found is None or found.state in (State.STARTING, State.PENDING):
            raise Unclear(f"local: {order.tag} was started and is not known yet", "./inv reconcile")
        return found

    def spawn(self, folder: Folder, image: Baked, secrets: dict[str, str]) -> int | None:
        """Starts begin.py, which starts the run; comes back when it is known. Returns begin.py's exit code if it has
        ended: nothing can start any more."""
        kept = folder.order()
        env = {**self.variables(kept, folder, image), **secrets}
        order = {"command": self.command(kept, image), "cwd": str(image.home), "env": env}
        Path(env["STOKER_RUN_DIR"]).parent.mkdir(parents=True, exist_ok=True)
        with (folder.path / "log").open("ab") as log:
            started = subprocess.Popen(
                [sys.executable, "-S", begin.__file__, str(folder.path)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={"PATH": os.defpath},
                cwd="/",
            )
        with suppress(OSError):  # it has ended already: its folder tells
            assert started.stdin is not None
            started.stdin.write(json.dumps(order).encode())
            started.stdin.close()
        until = time.monotonic() + BEGINNING
        while not folder.alive() and started.poll() is None and time.monotonic() < until:
            time.sleep(POLL)
        return started.poll()

    def command(self, kept: Mapping[str, Any], image: Baked) -> list[str]:
        """The image's entrypoint without the base's own, which is not here, and the command."""
        return [str(image.home / "bin" / "entrypoint"), *(image.inside(word) for word in kept["command"])]

    def variables(self, kept: Mapping[str, Any], folder: Folder, image: Baked) -> dict[str, str]:
        """The environment without the secrets. What would reach beyond the run's own folders is moved into them."""
        own = {name: self.environ[name] for name in PASSED if self.environ.get(name)}
        told = {name: value for name, value in kept["env"].items() if name not in LEFT_OUT}
        volume = self.state.absolute() / PROVIDER / "volumes" / kept["volume"]
        found = {
            **own,
            **image.env,
            "PATH": f"{Path(sys.executable).parent}:{self.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": str(image.home / "app"),
            "STOKER_HOME_DIR": str(image.home),
            "STOKER_STATE_DIR": str(folder.path / "state"),
            "STOKER_PROFILE_D": "/nonexistent",
            "STOKER_INIT_ENVIRON": "/nonexistent",
            "STOKER_RUN_DIR": str(volume / "runs" / told.get("MODEL_TAG", volume.name)),
            **told,
            "STOKER_TAG": str(kept["tag"]),
            "STOKER_PROVIDER": PROVIDER,
        }
        if kept["gpu"] != CPU:
            found["CUDA_VISIBLE_DEVICES"] = ",".join(kept["gpus"])
        return found

    def instances(self) -> list[Instance]:
        names = sorted(path.name for path in self.root.iterdir()) if self.root.is_dir() else []
        return [found for name in names if self.has(name) and (found := self.instance(name))]

    def instance(self, id: str) -> Instance | None:
        """What its folder and /proc tell; None without such a folder."""
        folder = self.folder(id)
        if not folder.known():
            return None
        kept, (state, words) = folder.order(), folder.state()
        live = state in (State.RUNNING, State.STARTING)
        return Instance(
            PROVIDER,
            id,
            str(kept["tag"]),
            state,
            status="process" if live else "ended",
            usd_hour=self.usd_hour if live else Decimal(0),
            kind=ON_DEMAND,
            gpu=str(kept["gpu"]),
            gpus=len(kept["gpus"]),
            region=PROVIDER,
            machine=PROVIDER,
            image=str(kept["image"]),
            created=folder.made(),
            started=folder.made(),
            words=words,
            env={**{name: kept["env"][name] for name in TOLD_ENV if name in kept["env"]}, "STOKER_TAG": kept["tag"]},
        )

    def gpus_taken(self) -> frozenset[str]:
        """Indices of the GPUs of those that run."""
        live = (self.folder(one.id) for one in self.instances() if one.state in (State.RUNNING, State.STARTING))
        return frozenset(index for folder in live for index in folder.order()["gpus"])

    def logs(self, id: str, tail: int, follow: bool) -> Iterator[str]:
        return self.folder(id).logs(tail, follow)

    def stop(self, id: str) -> None:
        """SIGTERM, and SIGKILL for what is left after the run's grace. Raises ProviderFailed when something stays."""
        folder = self.folder(id)
        folder.end(bodies.grace(folder.order()["env"]) + 10)
        if folder.alive() or folder.leftovers():
            raise ProviderFailed(PROVIDER, f"{id} does not end", "kill -9 its processes: ps aux | grep stoker")

    def start(self, id: str) -> None:
        """The same again on the same volume. Raises WrongInput for a secret that is no longer in the environment."""
        folder = self.folder(id)
        kept = folder.order()
        missing = [name for name in kept["secrets"] if not self.environ.get(name)]
        if missing:
            raise WrongInput(f"{id} needs {', '.join(missing)}", "set it as when it was launched; it is kept nowhere")
        if not folder.alive():
            image = baked(str(kept["image"]), self.state, self.state / PROVIDER / "images")
            self.spawn(folder, image, {name: self.environ[name] for name in kept["secrets"]})

    def terminate(self, id: str) -> None:
        """Ends it and takes its folder away; its volume stays."""
        folder = self.folder(id)
        if folder.known():
            folder.forbid()
            self.stop(id)
            shutil.rmtree(folder.path, ignore_errors=True)

    def volumes(self) -> list[Volume]:
        """Folders that outlive the processes; gb is 0: not measured."""
        root = self.state / PROVIDER / "volumes"
        names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
        return [Volume(PROVIDER, name, name, 0, usd_month=Decimal(0)) for name in names]

    def shown(self, order: Order) -> Shown:
        """What would be started; paths of the image as in the image."""
        secrets = dict.fromkeys(order.container.secrets, MASK)
        env = {**bodies.variables(order), **secrets}
        command = ["/opt/stoker/bin/entrypoint", *order.container.command]
        note = "there is no Docker Engine: a plain process, with this machine's Python"
        return Shown(PROVIDER, "EXEC", command[0], {"command": command, "env": dict(sorted(env.items()))}, note)
