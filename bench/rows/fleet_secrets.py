"""Secrets: planted in the environment, then looked for wherever the fleet leaves anything.

    python -m bench.rows.fleet_secrets [PROVIDER...]

For each provider a user's whole life, as commands of their own: offers, deploy --dry-run, deploy, status, logs, ledger,
terminate. Then everything that was printed, written, sent or run is searched for every planted value.
"""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from bench.rows.fleet_sites import NAMES, Exchange, Said, Served, inv, served
from bench.rows.private_registry import log_in, private_registry
from bench.rows.row import Row
from fleet.wire.failed import KEY_NAMES

USER = "someone"
PROFILE = """\
description: On a base that does with the drivers of most machines.
extends: h100-fp8
precision: bf16
base: {image: nvcr.io/nvidia/pytorch:24.10-py3}
"""
SPEED = 30.0  # virtual seconds per real one: what really happens on a machine takes its time
PLANTED = {  # none of them is anybody's; the last has letters that Vast's store does not take
    "HF_TOKEN": "hf_Q7w8E9r1T2y3U4i5O6p7A8s9D1f2G3h4J5",
    "WANDB_API_KEY": "5e1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b",
    "AWS_ACCESS_KEY_ID": "AKIAQ7W8E9R1T2Y3U4I5",
    "AWS_SECRET_ACCESS_KEY": "pL4nt3d/S3cr3t+K3y9Zx8Yw7Vu6Ts5Rq4Po3Nm2",
}
PASSWORD = "dckr_pat_Zk3Jx8Qw2Lm9Rt5Vy7Bn4"
KEYS = {
    "runpod": "rpa_PLANTED7KEY8OF9RUNPOD1ABCDEF2GHIJKL3MN4",
    "vast": "7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a39281706f5e4d3c2b1a0vast",
    "hyperbolic": "eyJhbGciOiJIUzI1NiJ9.cGxhbnRlZEtleU9mSHlwZXJib2xpYw.Zq8Wx7Vu6Ts5Rq4Po3",
}
NOWHERE = re.compile(r"(?!)")
# Where a value may stand in a request: the provider's own store, or the create where it has none for it.
STORES = {
    "runpod": re.compile(r"POST /v2/secrets"),
    "vast": re.compile(r"(POST|PUT) /api/v0/(secrets|asks/\d+)/?"),
    "hyperbolic": NOWHERE,
}
LOGINS = {
    "runpod": re.compile(r"POST /v2/registries"),
    "vast": re.compile(r"PUT /api/v0/asks/\d+/?"),
    "hyperbolic": NOWHERE,
}
# A value that the store does not take stands in the create, so the provider's own list shows it to the account.
IN_THE_OPEN = {"vast": re.compile(r"GET /api/v[01]/instances/(\d+/)?")}
VAST_TAKES = re.compile(r"[A-Za-z0-9_.\-]*")  # providers.md 2.10
# What the image's run script prints, as far as the fleet reads it.
TRAINS = """sh -c 'echo "run: begins"; echo "{\\"event\\": \\"step\\", \\"step\\": 1}"; exec sleep 600'"""
PAUSE = 0.002  # seconds between two looks at the processes


@dataclass
class Life:
    """What one provider's commands left. words: name of a place -> its content."""

    provider: str
    words: dict[str, bytes] = field(default_factory=dict)
    exchanges: list[Exchange] = field(default_factory=list)
    commands: int = 0
    failed: list[str] = field(default_factory=list)


def rows(names: Iterable[str] = NAMES) -> list[Row]:
    """One row for each provider."""
    return [judged(lived(name)) for name in names]


def lived(name: str) -> Life:
    """All commands, one after the other."""
    life = Life(name)
    with TemporaryDirectory(prefix="stoker-secrets-") as scratch, private_registry(USER, PASSWORD, "planted") as image:
        folder = Path(scratch)
        serving = served((name,), speed=SPEED, bodies="process", command=TRAINS, state=folder / "sim")
        with serving as market, command_lines() as seen:
            user = folder / "user"
            environ = {**market.environ(user, {name: KEYS[name]}), **PLANTED, "TMPDIR": str(folder / "tmp")}
            (folder / "tmp").mkdir()
            mine = log_in(user / "home", image, USER, PASSWORD)
            environ["STOKER_SSH_KEY"] = own_key(user / "home", market)
            profile = user / "planted.yaml"
            profile.write_text(PROFILE)
            for step, words in steps(name, image, str(profile)):
                keep(life, step, inv(environ, *words), words)
            life.exchanges = list(market.exchanges)
            for place in (user, folder / "tmp"):
                for path in sorted(place.rglob("*")):
                    if path.is_file() and path != mine:
                        life.words[f"file {path.relative_to(folder)}"] = path.read_bytes()
        for line in seen:
            life.words.setdefault("processes", b"")
            life.words["processes"] += line + b"\n"
    return life


def steps(name: str, image: str, profile: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What is typed."""
    looked = ("--profile", profile, "--provider", name)
    asked = ("--image", image, *looked, "--hours", "1", "--remote", "s3://bucket/run")
    yield "offers", ("offers", *looked)
    yield "offers as JSON", ("offers", *looked, "--dropped", "--json")
    yield "dry run", ("deploy", *asked, "--dry-run")
    yield "dry run as JSON", ("deploy", *asked, "--dry-run", "--json")
    yield "deploy", ("deploy", *asked, "--name", "planted", "--yes", "--debug")
    yield "status", ("status",)
    yield "status as JSON", ("status", "--json")
    yield "logs", ("logs", "planted")
    yield "ledger", ("ledger",)
    yield "balance", ("balance",)
    yield "reconcile", ("reconcile", "--json")
    yield "terminate", ("terminate", "planted", "--yes")


def keep(life: Life, step: str, said: Said, words: tuple[str, ...]) -> None:
    """Its output, and whether it worked."""
    life.commands += 1
    life.words[f"{step}: output"] = said.out.encode()
    life.words[f"{step}: errors"] = said.err.encode()
    if said.code != 0:
        life.failed.append(f"{' '.join(words[:1])} ended with {said.code}: {said.err.strip()[-400:]}")


def own_key(home: Path, market: Served) -> str:
    """The path of an SSH key of the user's, let in where machines are reached by SSH."""
    folder = home / ".ssh"
    folder.mkdir(mode=0o700)
    quiet = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(folder / "id_ed25519")]
    subprocess.run(quiet, check=True, stdin=subprocess.DEVNULL)
    if "hyperbolic" in market.sites:
        market.sites["hyperbolic"].estate.lets_in.append(  # type: ignore[attr-defined]
            (folder / "id_ed25519.pub").read_text().strip()
        )
    return str(folder / "id_ed25519")


@contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """The command lines of all processes that are seen while the block runs."""
    seen: set[bytes] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    with suppress(OSError):
                        seen.add((process / "cmdline").read_bytes().replace(b"\0", b" "))
            stop.wait(PAUSE)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        stop.set()
        watcher.join()


def spellings(value: str) -> set[bytes]:
    """How a value can be written: plainly, in a URL, in base64, within JSON."""
    return {value.encode(), quote(value, safe="").encode(), base64.b64encode(value.encode()).rstrip(b"=")}


def judged(life: Life) -> Row:
    """Nothing where it must not be, and each where it must."""
    hidden = {**PLANTED, "the key": KEYS[life.provider], "the registry's password": PASSWORD}
    forms = {name: spellings(value) for name, value in hidden.items()}
    forms["the registry's login"] = spellings(f"{USER}:{PASSWORD}")
    found = [
        f"{name} in {place}"
        for place, content in life.words.items()
        for name, values in forms.items()
        if any(value in content for value in values)
    ]
    found += [words for one in life.exchanges for words in sent(one, forms)]
    missing = [name for name in (*PLANTED, "the registry's password") if not delivered(life, forms[name], name)]
    bytes_read = sum(map(len, life.words.values())) + sum(len(one.body) for one in life.exchanges)
    return Row(
        f"{life.provider}: {len(hidden)} planted secrets through {life.commands} commands",
        "in no output, file, ledger, command line, template or request but the provider's own store",
        not found and not missing and not life.failed,
        f"found in {len(found)} places",
        f"{len(life.words)} places and {len(life.exchanges)} requests searched",
        samples={"bytes_searched": [bytes_read], "requests": [len(life.exchanges)]},
        notes=[*sorted(set(found)), *(f"{name} never reached the provider" for name in missing), *life.failed],
    )


def sent(one: Exchange, forms: Mapping[str, set[bytes]]) -> list[str]:
    """Secrets in a request where they must not stand. A key's place is the header, and no other."""
    call = f"{one.method} {one.target.partition('?')[0]}"
    heads = "\n".join(f"{name}: {value}" for name, value in one.headers.items() if name != "authorization").encode()
    wrong = []
    for name, values in forms.items():
        allowed = allowed_at(one.provider, name)
        there = any(value in one.body for value in values) and not (allowed and allowed.fullmatch(call))
        there = there or any(value in one.target.encode() or value in heads for value in values)
        if there:
            wrong.append(f"{name} in {call}")
        shown = IN_THE_OPEN.get(one.provider, NOWHERE).fullmatch(call) and not VAST_TAKES.fullmatch(
            PLANTED.get(name, "")
        )
        if one.method == "GET" and not shown and any(value in one.reply.bytes() for value in values):
            wrong.append(f"{name} in the answer to {call}")
    return wrong


def allowed_at(provider: str, name: str) -> re.Pattern[str] | None:
    """The calls whose bodies may hold it."""
    if name == "the key":
        return None
    return LOGINS[provider] if name.startswith("the registry") else STORES[provider]


def delivered(life: Life, values: set[bytes], name: str) -> bool:
    """Whether the provider got it at all: else nothing was proved. Hyperbolic's go over SSH, which nobody reads."""
    if life.provider == "hyperbolic":
        return True
    allowed = allowed_at(life.provider, name)
    return any(
        allowed is not None and allowed.fullmatch(f"{one.method} {one.target.partition('?')[0]}")
        for one in life.exchanges
        if any(value in one.body for value in values)
    )


assert set(KEYS) == set(NAMES) <= set(KEY_NAMES)

if __name__ == "__main__":
    for row in rows(sys.argv[1:] or NAMES):
        print(row.met, row.what, row.shown, row.against_shown, *row.notes, sep="\n   ")
