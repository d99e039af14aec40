"""Doctor: what this machine has, what it lacks, what that costs, and how to get it. Changes nothing.

Bad is only what makes every build impossible; whatever a task can do without is a note. Each probe runs in a thread of
its own, so that an engine or registry that hangs costs PATIENCE and no more.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from images.checks import accounts, machine
from images.checks.finding import Finding, report

if TYPE_CHECKING:
    from images.workbench import Workbench

PATIENCE = 4.0  # seconds for all probes together

Probe = Callable[[], Iterable[Finding]]


def examine(bench: Workbench, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """`{"ok", "checks": [...], "seconds"}`; see cli/show.findings. environ: this process's own, or a test's."""
    env = dict(os.environ if environ is None else environ)
    started = time.monotonic()
    found = ask(probes(bench, env), PATIENCE)
    return report(found, seconds=round(time.monotonic() - started, 3))


def probes(bench: Workbench, env: Mapping[str, str]) -> dict[str, Probe]:
    """In the order they are shown."""
    return {
        "python": partial(machine.python, bench.root),
        "git": partial(machine.git, bench.root),
        "state": partial(machine.state, bench.store.root),
        "disk": partial(machine.disk, bench.store.root),
        "debian base": machine.bootstrap,
        "docker": partial(machine.docker, env),
        "gpu": machine.gpu,
        "packages": machine.packages,
        "registry logins": partial(accounts.logins, env),
        "registry": partial(accounts.registry, bench.settings),
        "providers": partial(accounts.providers, env),
        "hugging face": partial(accounts.hugging_face, env),
    }


def ask(asked: Mapping[str, Probe], patience: float) -> list[Finding]:
    """All findings in the order of `asked`. A probe that fails or is late says so in its place."""
    answers: queue.Queue[tuple[str, list[Finding]]] = queue.Queue()
    for name, probe in asked.items():
        # Daemons: what still hangs at the end must not keep the process.
        threading.Thread(target=lambda n=name, p=probe: answers.put((n, outcome(n, p))), daemon=True).start()
    until, found = time.monotonic() + patience, dict[str, list[Finding]]()
    while len(found) < len(asked):
        try:
            name, rows = answers.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            break
        found[name] = rows
    late = f"no answer within {patience:.0f} s"
    return [row for name in asked for row in found.get(name, [Finding(name, None, late)])]


def outcome(name: str, probe: Probe) -> list[Finding]:
    """A probe's findings; what it raises becomes a note."""
    from profiles.errors import StokerError

    try:
        return list(probe())
    except StokerError as error:
        return [Finding(name, None, f"{error.what}; {error.next_step}".removesuffix("; "))]
    except Exception as error:  # whatever is broken here, the other rows still help
        return [Finding(name, None, f"{type(error).__name__}: {error}")]
