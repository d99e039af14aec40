"""After a machine is there: until something answers on it, and until it trains."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta
from itertools import islice

from fleet.clock import Clock
from fleet.life import signs
from fleet.life.signs import Signs
from fleet.life.verdict import Patience
from fleet.providers.outcomes import Unable
from fleet.providers.provider import Provider
from fleet.providers.values import Instance, State
from profiles.errors import StokerError

TAIL = 200  # lines of output that are looked through
EVERY = 15.0  # seconds between looks: four a minute of a provider's requests
BOOT = Patience().boot  # from the order to the first step, with the image's pull
BANNER = 3.0  # seconds for a shell's first words
ENDED = (State.FAILED, State.STOPPED, State.INTERRUPTED)


def output(provider: Provider, id: str, tail: int = TAIL) -> list[str]:
    """The newest lines, [] where there are none yet or none can be had. Raises nothing."""
    try:
        return list(islice(provider.logs(id, tail), 4 * tail))
    except StokerError:
        return []


def ready(provider: Provider, instance: Instance) -> str:
    """ "" when something of ours answers there, else what is still missing: running is said long before it is true
    (providers.md 0.4). A shell's banner will do, and so will the run's own words."""
    if instance.state is not State.RUNNING:
        return instance.words or instance.status or str(instance.state)
    try:
        place = instance.ssh or provider.ssh(instance.id)
    except StokerError:
        place = None
    if place is not None and greets(place.host, place.port):
        return ""
    if any(line.lstrip().startswith("run: ") or '"event"' in line for line in output(provider, instance.id)):
        return ""
    return "no shell and no output yet" if place is None else "its shell does not answer yet"


def greets(host: str, port: int) -> bool:
    """Whether an SSH server speaks there (RFC 4253 4.2: it begins with SSH-)."""
    try:
        with socket.create_connection((host, port), BANNER) as line:
            line.settimeout(BANNER)
            return line.recv(4) == b"SSH-"
    except OSError:
        return False


def until_it_trains(
    provider: Provider,
    instance: Instance,
    clock: Clock,
    say: Callable[[str], None],
    patience: timedelta = BOOT,
) -> tuple[Signs, str]:
    """What the run has said, and "" once it made a step; else why it is not awaited any longer. The machine is kept."""
    end, known, told = clock.now() + patience, Signs(), ""
    while True:
        try:
            known = heard(provider, instance.id, known)
        except Unable as unable:
            return known, f"{provider.name} shows no output: {unable.next_step}"
        except StokerError as failed:  # the next look may succeed
            told = tell(say, told, f"no output yet: {failed.what}")
        if known.step is not None:
            return known, ""
        if known.stop:
            return known, f"it stopped before its first step: {known.stop}"
        if why := over(provider, instance.id):
            return known, why
        if clock.now() >= end:
            return known, f"no step within {patience.total_seconds() / 60:.0f} minutes"
        clock.sleep(EVERY)


def heard(provider: Provider, id: str, known: Signs) -> Signs:
    """What the newest lines add; read no further than the first step, since a stream of output has no end."""
    for line in islice(provider.logs(id, TAIL), 4 * TAIL):
        known = signs.read([line], known)
        if known.step is not None:
            break
    return known


def over(provider: Provider, id: str) -> str:
    """Why the machine will not train any more; "" while it may, also when nobody can tell."""
    try:
        seen = provider.instance(id)
    except StokerError:
        return ""
    if seen is None:
        return "the machine is gone"
    return f"the machine is {seen.state}: {seen.words or seen.status}" if seen.state in ENDED else ""


def tell(say: Callable[[str], None], before: str, words: str) -> str:
    """Says what was not said the last time."""
    if words != before:
        say(words)
    return words
