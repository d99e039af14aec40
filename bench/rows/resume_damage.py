"""A flipped bit, a cut or a missing file in the newest checkpoint: found before loading; the one before is used."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

from bench.rows.resume_runs import Layout, checkpoints, differences, insist, text, train
from bench.rows.resume_warm import Warm
from bench.rows.row import Row
from trainer.checkpoint import folder, verify

BEFORE, NEWEST, END, EVERY = 8, 12, 16, 4
LAYOUT = Layout(2)


def flip(file: Path, draw: random.Random) -> str:
    """Flips one bit at a drawn place."""
    content = bytearray(file.read_bytes())
    place = draw.randrange(len(content))
    content[place] ^= 1 << draw.randrange(8)
    file.write_bytes(content)
    return f"bit of byte {place} flipped"


def cut(file: Path, draw: random.Random) -> str:
    """Leaves a drawn part of it."""
    size = draw.randrange(file.stat().st_size)
    with file.open("rb+") as stream:
        stream.truncate(size)
    return f"cut to {size} bytes"


def lose(file: Path, _: random.Random) -> str:
    """Removes it."""
    file.unlink()
    return "missing"


HARMS: tuple[Callable[[Path, random.Random], str], ...] = (flip, cut, lose)


class Damage:
    """A run with three checkpoints, copies of which are damaged and resumed."""

    def __init__(self, warm: Warm, scratch: Path, seed: int) -> None:
        scratch.mkdir(parents=True)
        self.warm, self.scratch, self.draw = warm, scratch, random.Random(seed)
        self.text = text(scratch / "text.txt")
        self.run, self.whole = scratch / "run", scratch / "whole"
        for run, steps in ((self.run, NEWEST), (self.whole, END)):
            done = warm.run(self.command(run, steps))
            insist(done.code == 0, done.err[-2000:])
        self.files = sorted(path.name for path in (checkpoints(self.run) / folder.name_of(NEWEST)).iterdir())

    def command(self, run: Path, steps: int) -> list[str]:
        return train(run, steps, EVERY, LAYOUT, **{"data.path": self.text})

    def check(self, name: str, harm: Callable[[Path, random.Random], str]) -> list[str]:
        """Damages that file of the newest checkpoint and gives the same command; what is not as promised."""
        run = self.scratch / "damaged"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(self.run, run)
        what = f"{name} {harm(checkpoints(run) / folder.name_of(NEWEST) / name, self.draw)}"
        done = self.warm.run(self.command(run, END))
        if done.code:
            return [f"{what}: ended with {done.code}: {done.err[-500:]}"]
        found = [] if f"WARNING: checkpoint {folder.name_of(NEWEST)} is damaged ({name}" in done.err else ["not told"]
        resumed = [line for line in done.err.splitlines() if "resuming from" in line]
        if len(resumed) != 1 or folder.name_of(BEFORE) not in resumed[0]:
            found.append(f"resumed: {resumed}")
        return [f"{what}: {text}" for text in found + differences(run, self.whole, END)]

    def seen(self, places: int, all_of_manifest: bool) -> tuple[int, int]:
        """(flips found, flips made) when the checkpoint is only verified: at drawn places of every file."""
        copy = self.scratch / "verified"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(checkpoints(self.run) / folder.name_of(NEWEST), copy)
        insist(verify.fault(copy) is None, "the copy is not whole")
        found = made = 0
        for name in self.files:
            content = (copy / name).read_bytes()
            every = all_of_manifest and name == "manifest.json"
            for place in range(len(content)) if every else [self.draw.randrange(len(content)) for _ in range(places)]:
                harmed = bytearray(content)
                harmed[place] ^= 1 << self.draw.randrange(8)
                (copy / name).write_bytes(harmed)
                made += 1
                found += verify.fault(copy) is not None
            (copy / name).write_bytes(content)
        return found, made


def rows(warm: Warm, scratch: Path, quick: bool, seed: int) -> list[Row]:
    """One row for resumed runs, one for verification alone."""
    proof = Damage(warm, scratch / "damage", seed)
    tried, wrong = 0, list[str]()
    for number, name in enumerate(proof.files):
        for harm in (HARMS[number % 3],) if quick else (flip, flip, cut, cut, lose):
            tried, wrong = tried + 1, wrong + proof.check(name, harm)
    found, made = proof.seen(5 if quick else 100, not quick)
    return [
        Row(
            "a flipped bit, a cut or a missing file in the newest checkpoint",
            "found before loading, told, the one before is used, and the end is bit-equal",
            not wrong,
            f"{tried - len({text.split(':')[0] for text in wrong})} of {tried}",
            notes=[f"each of {len(proof.files)} files, drawn places, seed {seed}", *wrong],
        ),
        Row(
            "a flipped bit anywhere in a checkpoint",
            "verification finds it, always",
            found == made,
            f"{found} of {made}",
            notes=["drawn places of every file" + ("" if quick else ", and every byte of the manifest")],
        ),
    ]
